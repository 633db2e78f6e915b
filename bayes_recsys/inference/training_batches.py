"""Which batches a training has."""

from __future__ import annotations

from bayes_recsys.data.batches import TrainingBatches
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.data.splits import Split
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.models.base import Model

UNBOUNDED = 2**62


def differs_by_target(model: Model) -> bool:
    """Whether some attention has other scores for each target."""
    return any(attention.by_target for attention in model.attentions)


def training_batches(
    model: Model, split: Split, objective: Objective, training: Training
) -> TrainingBatches:
    """The batches that a likelihood wants, as large as the training says."""
    likelihood = objective.likelihood
    # Where scores differ by target, memory is bounded too by what a batch attends to, see TrainingBatches.
    bounds = {} if differs_by_target(model) else {"at_once": UNBOUNDED}
    return TrainingBatches(
        positives=split.items_by_user("train"),
        histories=model.histories,
        sampler=negative_sampler(split, training.negatives_exclude),
        negatives=likelihood.negatives,
        # With the whole catalogue for candidates a user's choices cost no more together than one alone.
        block=32 if likelihood.negatives is not None else UNBOUNDED,
        pairs=training.batch_size(likelihood, model.histories.n_items),
        seed=training.seed,
        history_dropout=training.history_dropout,
        **bounds,
    )
