"""One epoch of training: its steps, and what is measured after them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pyro

from bayes_recsys.data.batches import TrainingBatches
from bayes_recsys.data.splits import Split
from bayes_recsys.distributed import Group
from bayes_recsys.evaluation.held_out import HeldOutLoss
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import LOSS, Training
from bayes_recsys.inference.state import State
from bayes_recsys.streams import seed_torch, torch_seed
from bayes_recsys.threads import ahead

# What blocks of no process are counted: Pyro refuses a scale of 0.
NOTHING = 1e-30
# What helps where numbers grow beyond all bounds.
ADVICE = "lower learning_rate, raise weight_decay, or make energies smaller (tau, embedding_dim)"


def train_epoch(
    state: State,
    objective: Objective,
    training: Training,
    batches: TrainingBatches,
    reports: Sequence[Callable[[State], None]],
    threads: int,
    group: Group = Group(),
) -> None:
    """What is left of one pass over the positives."""
    model, number = state.model.train(), state.epoch + 1
    trained = [p for p in model.parameters() if p.requires_grad]
    n_pairs = len(batches.positives.values) * (1 + (batches.negatives or 0))
    for batch in ahead(batches.epoch(number, start=state.position), threads):
        started = time.perf_counter()
        keys = (number, state.position) if group.first else (number, state.position, group.rank)
        seed_torch(torch_seed("scores", training.seed, *keys), training.device)
        # Pyro's checks of shapes and supports cost memory passes: the first batch has them.
        with pyro.validation_enabled(number == 1 and not state.position):
            now = state.epoch + state.position / batch.scale
            if not batch.mask.any():  # it has fewer blocks than there are processes
                batch = replace(batch, scale=batch.scale * NOTHING)
            with _in_words(number, state.position):
                loss = objective.loss_and_grads(
                    model, batch.to(model.device), now, per=n_pairs, processes=group.size
                )
        stops = state.stopped is not None or group.interrupted
        loss, stops = group.add_up(trained, [loss, float(stops)])
        if stops:  # in any of several processes: here all of them meet
            state.optimizer.zero_grad()
            return
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {number}, batch {state.position + 1}: {ADVICE}"
            )
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step(loss, time.perf_counter() - started)
        for report in reports:
            report(state)
        if group.size == 1:
            state.stopped = group.agreed(state.stopped)
            if state.stopped is not None:
                return
    if not all(parameter.isfinite().all() for parameter in trained):
        raise FloatingPointError(f"parameters are no longer finite after epoch {number}: {ADVICE}")


@contextmanager
def _in_words(number: int, position: int) -> Iterator[None]:
    """Pyro's check of a first batch names a tensor that is not finite, and prints all of it."""
    try:
        yield
    except ValueError as error:
        if "invalid values" not in str(error):
            raise
        what = str(error).split(" (Tensor")[0].removeprefix("Expected ")
        raise FloatingPointError(
            f"{what} of a site is not finite, or out of range, in epoch {number}, batch {position + 1}: {ADVICE}"
        ) from error


def measure(
    state: State,
    training: Training,
    split: Split,
    held_out: HeldOutLoss,
    reports: Sequence[Callable[[State], None]],
    group: Group,
) -> None:
    """End an epoch: rank, note, report."""
    if state.stopped is not None:  # within the epoch, by a callback
        return
    monitor, number = training.monitor, state.epoch + 1
    started, value, nll = time.perf_counter(), math.nan, math.nan
    with state.measured():
        if number % monitor.every == 0 or number == training.max_epochs:
            nll = held_out.measure(state.model, group)
            is_it = monitor.metric == LOSS and monitor.part == "validation"
            value = nll if is_it else monitor.measure(state.model, split, training.seed, group)
        measured = {"held_out_nll": nll, monitor.name: value}
        measured["measuring"] = time.perf_counter() - started
        state.finish_epoch(measured, monitor.score(value))
    for report in reports:
        report(state)


def has_ended(state: State, training: Training) -> bool:
    """Note why there is no further epoch, if so."""
    measured = state.rows and not math.isnan(state.rows[-1][training.monitor.name])
    if measured and state.epoch - state.best_epoch >= training.patience:
        state.stopped = "patience"
    elif state.epoch >= training.max_epochs:
        state.stopped = "epochs"
    return state.stopped is not None
