"""Stochastic variational inference with early stopping."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyro
import torch

from bayes_recsys.data.batches import Batch, TrainingBatches
from bayes_recsys.data.history import check_split
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.data.splits import Split
from bayes_recsys.inference.checks import (
    check_arguments,
    check_sites,
    check_tempering,
    guide_only,
    warn_of_collapse,
)
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.inference.progress import Progress
from bayes_recsys.inference.state import State
from bayes_recsys.memory import memory_kept
from bayes_recsys.models.base import Model
from bayes_recsys.streams import seed_torch, torch_seed
from bayes_recsys.threads import ahead, one_thread


@dataclass(frozen=True)
class Fit:
    """The outcome of :func:`fit`.

    Args:
        model: The model, its weights those of the best epoch.
        history: One row per epoch: ``loss`` (objective per training pair), the monitor's metric (NaN
            where it was not measured), ``seconds`` of training (ranking not included).
        best_epoch: The epoch whose weights were kept; 0 if none was finished.
        stopped: Why training ended: ``"epochs"``, ``"patience"``, ``"interrupted"``, or what a
            callback said.
    """

    model: Model
    history: pd.DataFrame
    best_epoch: int
    stopped: str


def fit(
    model: Model,
    split: Split,
    objective: Objective = Objective(),
    training: Training = Training(),
    *,
    resume: Mapping[str, Any] | None = None,
    callback: Callable[[State], None] | None = None,
    progress: bool = True,
) -> Fit:
    """Fit a model and its guide together, and keep the weights that rank best.

    After each epoch held-out items are ranked with expected scores, by default the leave-one-out item
    of every user among 99 random ones. Training stops when the metric has not improved for
    ``patience`` epochs, and the best weights are restored. Ctrl-C ends training at once, the best
    weights so far are kept, and the result says so. From the same initial weights the same seed gives
    the same result; the caller's random state is left alone. The model keeps the likelihood.

    Args:
        model: Any :class:`~bayes_recsys.models.base.Model`; trained in place.
        split: The split its histories were made from.
        objective: What is made small: likelihood, weight of the scores' terms, penalty, ELBO.
        training: How: learning rate, decay, batches, patience, monitor, seed, device.
        resume: The ``state_dict`` of a :class:`~bayes_recsys.inference.state.State` to go on from, with the
            same arguments otherwise.
        callback: Called with the :class:`~bayes_recsys.inference.state.State` after every batch, and after
            every epoch (``position`` is 0 then).
        progress: Print a line per epoch, and in a terminal a progress bar.

    Warns:
        CollapseWarning: The scores ended as their prior, with what to do about it.

    Raises:
        ValueError: The split has no item to stop by or is not the one of the model's histories, model
            and guide do not have the same latent sites, or the scores' terms are weighed where there are no
            scores.
        TypeError: An argument is of another kind.
        FloatingPointError: The loss or the weights are no longer finite; the model has its best weights so far.
    """
    check_arguments(model, split, objective, training)
    check_tempering(model.is_random, objective)
    training.monitor.check(split)
    check_split(model.histories, split)
    model.likelihood = objective.likelihood
    batches = TrainingBatches(
        positives=split.items_by_user("train"),
        histories=model.histories,
        sampler=negative_sampler(split, training.negatives_exclude),
        negatives=objective.likelihood.negatives,
        pairs=training.pairs,
        seed=training.seed,
    )
    first = next(batches.epoch(1))
    state = State(model.to(training.device), _optimizer(model, first, objective, training))
    if resume is not None:
        state.load_state_dict(resume)
        if state.rows and training.monitor.name not in state.rows[0]:
            raise ValueError(f"resume: that run was not monitored by {training.monitor.name}")
    with (
        torch.random.fork_rng(),
        memory_kept(),
        warnings.catch_warnings(),
        Progress(training, progress) as show,
    ):
        # Pyro's warning of a NaN loss; here it is an error.
        warnings.filterwarnings("ignore", "Encountered NaN: loss", UserWarning)
        reports = [show] if callback is None else [show, callback]
        try:
            check_sites(model, first.to(model.device))
            while state.stopped is None and not _has_ended(state, training):
                with one_thread() as threads:
                    _train_epoch(state, objective, training, batches, reports, threads)
                _measure(state, training, split, reports)
        except KeyboardInterrupt:
            state.stopped = "interrupted"
        finally:
            state.restore_best()
            model.cpu().eval()
    warn_of_collapse(model)
    history = pd.DataFrame(state.rows, columns=["epoch", "loss", training.monitor.name, "seconds"])
    return Fit(model, history, state.best_epoch, state.stopped)


def _optimizer(
    model: Model, batch: Batch, objective: Objective, training: Training
) -> torch.optim.Optimizer:
    """AdamW that decays embeddings and linear maps, but not what only the guide uses."""
    of_guide = guide_only(model, batch.to(model.device))
    decayed = [p for p in model.parameters() if p.ndim > 1 and p not in of_guide]
    others = [p for p in model.parameters() if p.ndim < 2 or p in of_guide]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=training.learning_rate, weight_decay=training.decay(objective), fused=True
    )


def _train_epoch(
    state: State,
    objective: Objective,
    training: Training,
    batches: TrainingBatches,
    reports: Sequence[Callable[[State], None]],
    threads: int,
) -> None:
    """What is left of one pass over the positives."""
    model, number = state.model.train(), state.epoch + 1
    trained = [p for p in model.parameters() if p.requires_grad]
    n_pairs = len(batches.positives.values) * (1 + (batches.negatives or 0))
    for batch in ahead(batches.epoch(number, start=state.position), threads):
        started = time.perf_counter()
        seed_torch(torch_seed("scores", training.seed, number, state.position), training.device)
        # Pyro's checks of shapes and supports cost memory passes: the first batch has them.
        with pyro.validation_enabled(number == 1 and not state.position):
            now = state.epoch + state.position / batch.scale
            loss = objective.loss_and_grads(model, batch.to(model.device), now, per=n_pairs)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {number}, batch {state.position + 1}: lower "
                "learning_rate or raise weight_decay"
            )
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step(loss, time.perf_counter() - started)
        for report in reports:
            report(state)
        if state.stopped is not None:
            return
    if not all(parameter.isfinite().all() for parameter in trained):
        raise FloatingPointError(
            f"parameters are no longer finite after epoch {number}: lower learning_rate or raise "
            "weight_decay"
        )


def _measure(
    state: State, training: Training, split: Split, reports: Sequence[Callable[[State], None]]
) -> None:
    """End an epoch: rank, note, report."""
    if state.stopped is not None:  # within the epoch, by a callback
        return
    monitor, number = training.monitor, state.epoch + 1
    due = number % monitor.every == 0 or number == training.max_epochs
    value = monitor.measure(state.model, split, training.seed) if due else None
    state.finish_epoch(monitor.name, value)
    for report in reports:
        report(state)


def _has_ended(state: State, training: Training) -> bool:
    """Note why there is no further epoch, if so."""
    measured = state.rows and not math.isnan(state.rows[-1][training.monitor.name])
    if measured and state.epoch - state.best_epoch >= training.patience:
        state.stopped = "patience"
    elif state.epoch >= training.max_epochs:
        state.stopped = "epochs"
    return state.stopped is not None
