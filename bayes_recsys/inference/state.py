"""Where a training run stands."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from bayes_recsys.inference.averaging import AveragedWeights
from bayes_recsys.models.base import Model

PARTS = ("model", "optimizer", "averaged", "best_weights", "rows")
NUMBERS = ("position", "total", "seconds", "best", "best_epoch", "stopped")


class State:
    """Everything that changes while a model is trained.

    ``torch.save(state.state_dict(), path)`` at any step keeps a run, and ``fit(..., resume=torch.load(path,
    weights_only=True))`` goes on from that very step: batches and draws are functions of seed, epoch and
    position, so that there is no random state to keep.

    Args:
        model: What is trained.
        optimizer: What trains it.
        averaged: Its weights averaged over the steps, by which it is measured; ``None``: by what they are.

    Attributes:
        rows: One row for each finished epoch, ``Fit.history``.
        epoch: How many epochs are finished.
        position: Batches done of the epoch under way.
        total: Sum of these batches' losses.
        seconds: Time spent on them.
        best: The monitor's best score, what is to be large (minus a loss), ``best_epoch`` when that was (0: never), ``best_weights`` the
            ``state_dict`` of then.
        stopped: Why training ended, ``None`` while it goes on. A callback may set it to stop.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=40, n_items=50, seed=0).interactions)
        >>> def stop(state):  # called after every batch, and with position 0 after every epoch
        ...     if (state.epoch, state.position) == (1, 0):
        ...         kept.update(state.state_dict())
        ...         state.stopped = "seen enough"
        >>> kept, training = {}, br.Training(max_epochs=2)
        >>> model = br.models.NAIS(br.data.histories(split), embedding_dim=4)
        >>> br.fit(model, split, training=training, callbacks=[stop], progress=False).stopped
        'seen enough'
        >>> len(br.fit(model, split, training=training, resume=kept, progress=False).history)
        2
    """

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        averaged: AveragedWeights | None = None,
    ):
        self.model, self.optimizer, self.averaged = model, optimizer, averaged
        self.rows: list[dict[str, float]] = []
        self.position, self.total, self.seconds = 0, 0.0, 0.0
        self.best, self.best_epoch = float("-inf"), 0
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.stopped: str | None = None

    @property
    def epoch(self) -> int:
        return len(self.rows)

    def measured(self) -> AbstractContextManager[None]:
        """Within, the model has the weights by which it is measured and of which the best are kept."""
        return nullcontext() if self.averaged is None else self.averaged.in_place()

    def step(self, loss: float, seconds: float) -> None:
        """Note a batch that is done."""
        if self.averaged is not None:
            self.averaged.step()
        self.position += 1
        self.total += loss
        self.seconds += seconds

    def finish_epoch(self, measured: Mapping[str, float], score: float) -> None:
        """Note the row of an epoch whose batches are done, and keep the weights if they are the best.

        Args:
            measured: What was measured of them, by name, for the row.
            score: What is to be large; NaN if it was not measured.
        """
        row = {"epoch": self.epoch + 1, "loss": self.total / self.position}
        self.rows.append({**row, **measured, "seconds": self.seconds})
        if score > self.best:
            self.best, self.best_epoch = score, self.epoch
            weights = self.model.state_dict()
            self.best_weights = {name: one.detach().clone() for name, one in weights.items()}
        self.position, self.total, self.seconds = 0, 0.0, 0.0

    def restore_best(self) -> None:
        """Give the model its best weights; if no epoch was ever measured, those by which it would have been."""
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        elif self.averaged is not None and self.averaged.steps:
            self.averaged.keep()

    def state_dict(self) -> dict[str, Any]:
        """A copy of all of it, of tensors, numbers and text, which ``torch.load(.., weights_only=True)``
        reads."""
        return {
            "model": copy.deepcopy(self.model.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "best_weights": copy.deepcopy(self.best_weights),
            "rows": [dict(row) for row in self.rows],
            **{name: getattr(self, name) for name in NUMBERS},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, of a run of the same model.

        Raises:
            ValueError: Something is missing, or of another model.
            TypeError: It is no dictionary.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"resume must be what State.state_dict() gave, not {state!r}")
        missing = {*PARTS, *NUMBERS} - state.keys()
        if missing:
            raise ValueError(
                f"this is no state of a training run: it has no {sorted(missing)[0]!r}"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if (self.averaged is None) != (state["averaged"] is None):
                raise ValueError("one averages its weights, the other does not (average=)")
            if self.averaged is not None:
                self.averaged.load_state_dict(state["averaged"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"this is the state of another model's run, or of another way to train: {error}"
            ) from error
        best = state["best_weights"]
        self.best_weights = best and {name: one.clone() for name, one in best.items()}
        self.rows = [dict(row) for row in state["rows"]]
        for name in NUMBERS:
            setattr(self, name, state[name])
        self.stopped = None
