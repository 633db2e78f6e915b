"""The outcome of training."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bayes_recsys.models.base import Model

MARGIN = 0.01


@dataclass(frozen=True)
class Fit:
    """The outcome of :func:`~bayes_recsys.inference.fitting.fit`.

    Args:
        model: The model, its weights those of the best epoch.
        history: One row per epoch: ``epoch``, ``loss`` (objective per training pair), ``held_out_nll`` (loss of the
            likelihood alone on the validation part, see
            :class:`~bayes_recsys.evaluation.held_out.HeldOutLoss`; NaN if it is empty), the monitor's metric
            (both NaN where not measured), ``measuring`` (seconds that these took) and ``seconds`` of
            training.
        best_epoch: The epoch whose weights were kept; 0 if none was measured: then they are those at the end, averaged if
            training averages.
        stopped: Why training ended: ``"epochs"``, ``"patience"``, ``"interrupted"``, or what a
            callback said.
        base_nll: What ``held_out_nll`` is of a model that says the same of every item, the best such.

    Example:
        >>> history = pd.DataFrame({"epoch": [1, 2], "held_out_nll": [0.49, 0.41]})
        >>> Fit(model=None, history=history, best_epoch=2, stopped="epochs", base_nll=0.5).learned
        True
    """

    model: Model
    history: pd.DataFrame
    best_epoch: int
    stopped: str
    base_nll: float

    @property
    def learned(self) -> bool:
        """Whether the kept epoch's held-out loss is below that of one probability for every item, by more than a hundredth of
        it: less is chance. A model of noise learns nothing; one that is sure of what is wrong may rank well and still lose
        more than that."""
        kept = self.history["held_out_nll"][self.history["epoch"] == self.best_epoch]
        return bool(len(kept)) and bool((kept < (1 - MARGIN) * self.base_nll).all())
