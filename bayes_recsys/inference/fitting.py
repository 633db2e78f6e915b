"""Stochastic variational inference with early stopping."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pyro
import torch
from pyro.infer import RenyiELBO

from bayes_recsys.data.batches import TrainingBatches
from bayes_recsys.data.history import check_split
from bayes_recsys.data.negatives import check_negatives
from bayes_recsys.data.splits import Split
from bayes_recsys.distributed import Group
from bayes_recsys.evaluation.held_out import HeldOutLoss
from bayes_recsys.inference.averaging import AveragedWeights
from bayes_recsys.inference.checkpoint import Checkpoint
from bayes_recsys.inference.checks import (
    check_arguments,
    check_sites,
    check_tempering,
    take_guide,
    warn_of_collapse,
)
from bayes_recsys.inference.description import described
from bayes_recsys.inference.epochs import has_ended, measure, train_epoch
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.optimizer import make_optimizer, tables_of
from bayes_recsys.inference.options import Training
from bayes_recsys.inference.progress import Progress
from bayes_recsys.inference.result import Fit
from bayes_recsys.inference.state import State
from bayes_recsys.inference.training_batches import differs_by_target, training_batches
from bayes_recsys.memory import check_memory, memory_kept
from bayes_recsys.models.base import Model
from bayes_recsys.models.own_guide import Guide
from bayes_recsys.threads import one_thread


def fit(
    model: Model,
    split: Split,
    objective: Objective = Objective(),
    training: Training = Training(),
    *,
    guide: Guide | None = None,
    checkpoint: Checkpoint | None = None,
    resume: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callable[[State], None]] = (),
    progress: bool = True,
) -> Fit:
    """Fit a model and its guide together, and keep the weights that rank best.

    Every few epochs (by default every fifth) the validation part is ranked in the whole catalogue, with expected
    scores and averaged weights, and the loss on it is noted. Training stops when the metric has not improved for
    ``patience`` epochs, and the best weights are restored. Ctrl-C ends training at once, the best weights so far are
    kept (before anything was measured, the averaged ones), and the result says so. From the same initial weights the same seed gives
    the same result; the caller's random state is left alone. The model keeps the likelihood.

    Args:
        model: Any :class:`~bayes_recsys.models.base.Model`; trained in place.
        split: The split its histories were made from.
        objective: What is made small: likelihood, weight of the scores' terms, penalty, ELBO.
        training: How: learning rate, decay, batches, patience, monitor, seed, device.
        guide: In place of the model's amortised guide: a function of a batch that draws the model's sites, or a
            ``PyroModule``, whose parameters are trained too. It stays with the model
            (``model.own_guide``): ``evaluate``, ``recommend`` and ``to_arviz`` draw from it. Of Pyro's
            AutoGuides those of global sites. ``None`` is the amortised guide, whatever the model had before.
        checkpoint: A file that the run is kept in, and goes on from if it is there. Ctrl-C and SIGTERM then end
            training after the batch under way, and the file has it.
        resume: The ``state_dict`` of a :class:`~bayes_recsys.inference.state.State` to go on from, with the
            same arguments otherwise.
        callbacks: Each is called with the :class:`~bayes_recsys.inference.state.State` after every batch, and
            after every epoch (``position`` is 0 then): a function of yours,
            :class:`~bayes_recsys.inference.loggers.CSVLog`,
            :class:`~bayes_recsys.inference.loggers.TensorBoardLog`.
        progress: Print a line per epoch, and in a terminal a progress bar.

    Warns:
        CollapseWarning: The scores ended as their prior, with what to do about it.

    Raises:
        ValueError: The split has no item to stop by or is not the one of the model's histories, model
            and guide do not have the same latent sites, or the scores' terms are weighed where there are no
            scores.
        TypeError: An argument is of another kind.
        FloatingPointError: The loss or the weights are no longer finite; the model has its best weights so far.
        MemoryError: Training will not fit into the memory that is free.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=40, n_items=50, seed=0).interactions)
        >>> model = br.models.NAIS(br.data.histories(split), embedding_dim=4)
        >>> done = br.fit(model, split, training=br.Training(max_epochs=2), progress=False)
        >>> done.stopped, len(done.history)
        ('epochs', 2)
    """
    check_arguments(model, split, objective, training, callbacks)
    check_tempering(model.is_random, objective)
    training.monitor.check(split)
    check_split(model.histories, split)
    check_negatives(objective.likelihood.negatives, split.interactions.n_items)
    if checkpoint is not None:
        if resume is not None:
            raise ValueError("give checkpoint, which resumes by itself, or resume, not both")
        checkpoint.describe(model, split, objective, training)
        resume = checkpoint.load()
    model.likelihood = objective.likelihood
    batches = training_batches(model, split, objective, training)
    held_out = HeldOutLoss(split, objective.likelihood.negatives)
    # Weights, gradients, two moments of the optimiser, the average, and the best weights.
    size = 24.0 * sum(p.numel() for p in model.parameters())
    check_memory(
        size + batches.least_memory(differing=differs_by_target(model)),
        "training",
        "embedding_dim, max_length or negatives",
    )
    first = next(batches.epoch(1))
    group = Group.of(training.distributed)
    with torch.random.fork_rng():
        take_guide(model, guide, first.to(model.device))
    model.to(training.device)
    if group.size > 1:
        _start_alike(group, model, split, objective, training)
    averaged = AveragedWeights(model, training.averaging) if training.averaging else None
    state = State(model, make_optimizer(model, objective, training), averaged)
    if resume is not None:
        _go_on(state, resume, training)
    if group.size > 1:
        batches = _shared(group, state, batches)
    with (
        torch.random.fork_rng(),
        memory_kept(),
        warnings.catch_warnings(),
        group.interrupts_noted(wanted=checkpoint is not None),
        pyro.get_param_store().scope(),
        Progress(training, progress and group.first) as show,
    ):
        # Pyro's warning of a NaN loss; here it is an error.
        warnings.filterwarnings("ignore", "Encountered NaN: loss", UserWarning)
        kept = [] if checkpoint is None else [checkpoint]
        reports = [show, *([*callbacks, *kept] if group.first else [])]
        try:
            check_sites(model, first.to(model.device))
            while state.stopped is None and not has_ended(state, training):
                with one_thread() as threads:
                    train_epoch(state, objective, training, batches, reports, threads, group)
                state.stopped = group.agreed(state.stopped)
                measure(state, training, split, held_out, reports, group)
                state.stopped = group.agreed(state.stopped)
            if checkpoint is not None and group.first:
                checkpoint.write(state)
        except KeyboardInterrupt:
            state.stopped = "interrupted"
        finally:
            _end(state)
    if group.first:
        warn_of_collapse(model)
    columns = ["epoch", "loss", "held_out_nll", training.monitor.name, "measuring", "seconds"]
    history, base = (
        pd.DataFrame(state.rows, columns=columns),
        held_out.of_constant(model.likelihood),
    )
    return Fit(model, history, state.best_epoch, state.stopped, base)


def _go_on(state: State, kept: Mapping[str, Any], training: Training) -> None:
    """From where another run was."""
    state.load_state_dict(kept)
    if state.rows and training.monitor.name not in state.rows[0]:
        raise ValueError(f"resume: that run was not monitored by {training.monitor.name}")


def _end(state: State) -> None:
    """Leave the model with its best weights, as it was given."""
    state.restore_best()
    for table in tables_of(state.model):
        table.sparse = False
    state.model.cpu().eval()


def _start_alike(
    group: Group, model: Model, split: Split, objective: Objective, training: Training
) -> None:
    """Give all processes the weights of the first one.

    Raises:
        ValueError: The processes were given different tasks, or an estimator that is no sum over blocks.
    """
    if isinstance(objective.elbo, RenyiELBO):
        raise ValueError(
            "RenyiELBO weighs whole batches, which processes cannot share; use another"
        )
    said = described(model, split, objective, training, free=("device",))
    group.start_alike(model.parameters(), "; ".join(f"{k}: {v}" for k, v in said.items()))


def _shared(group: Group, state: State, batches: TrainingBatches) -> TrainingBatches:
    """This process's share of batches, once all are known to be at the same step.

    Raises:
        ValueError: They are not: what a run goes on from is not there for all.
    """
    group.start_alike((), f"from epoch {state.epoch}, batch {state.position} on")
    return replace(batches, share=(group.rank, group.size))
