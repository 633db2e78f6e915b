"""What is checked before and after training."""

from __future__ import annotations

import warnings

import pyro
import pyro.poutine as poutine
import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.poutine.util import site_is_subsample

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.split import Split
from bayes_recsys.inference.schedules import Schedule
from bayes_recsys.inference.scores import score_summary
from bayes_recsys.models.base import KL_REDUCTIONS, Model

# Below these a site's scores count as their prior: sd of ln(posterior mean / prior mean) within a
# history, nats an entry above the least divergence, and contraction where the width is learned.
COLLAPSED_SPREAD, COLLAPSED_EXCESS, COLLAPSED_CONTRACTION = 0.02, 0.005, 0.02


class CollapseWarning(UserWarning):
    """The scores ended as their prior."""


def warn_of_collapse(model: Model) -> None:
    """Warn if the scores of a site are their prior: the divergence at its floor, the means apart by
    no more than a constant, and a learned width no narrower."""
    if not model.is_random:
        return
    summary = score_summary(model)
    at_prior = (summary["excess"] < COLLAPSED_EXCESS) & (summary["spread"] < COLLAPSED_SPREAD)
    narrowed = summary["contraction"] > COLLAPSED_CONTRACTION  # false for a given width
    collapsed = summary[at_prior & ~narrowed]
    if len(collapsed):
        kl, floor = collapsed[["kl", "floor"]].mean()
        warnings.warn(
            f"the scores of {', '.join(collapsed.index)} are their prior: means differ by "
            f"{collapsed['spread'].max():.2g} on the log scale, divergence {kl:.3f} nats an entry, "
            f"least possible {floor:.3f}. Attention learned nothing. Train longer, "
            "give scores the scope 'user' if they have it not, or a wider prior, or temper: "
            "kl_weight=0.01, kl_reduction='mean'",
            CollapseWarning,
            stacklevel=3,
        )


def check_sites(model: Model, batch: Batch, *terms) -> None:
    """Refuse a pair whose latent sites differ; Pyro only warns, and trains the wrong thing.

    Raises:
        ValueError: A latent site of the model is missing in the guide, or the reverse.
    """
    with torch.no_grad(), pyro.validation_enabled(False):
        guide = poutine.trace(model.guide).get_trace(batch, *terms)
        replayed = poutine.trace(poutine.replay(model.model, trace=guide)).get_trace(batch, *terms)
    in_model, in_guide = (
        {name for name in trace.stochastic_nodes if not site_is_subsample(trace.nodes[name])}
        for trace in (replayed, guide)
    )
    if in_model != in_guide:
        raise ValueError(
            f"latent sites of model and guide differ: only in the model "
            f"{sorted(in_model - in_guide)}, only in the guide {sorted(in_guide - in_model)}"
        )


def guide_only(model: Model, batch: Batch) -> set[torch.nn.Parameter]:
    """Parameters of the guide alone: given scores, the generative model does not depend on them.

    Only a prior on parameters could justify decaying them, and there is none on a guide's.
    """
    batch = batch.to(model.device)
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        with torch.no_grad():
            guide = poutine.trace(model.guide).get_trace(batch)
        joint = poutine.trace(poutine.replay(model.model, trace=guide)).get_trace(batch)
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(joint.log_prob_sum(), parameters, allow_unused=True)
    return {p for p, g in zip(parameters, gradients, strict=True) if g is None}


def check_elbo(elbo: ELBO) -> None:
    """Refuse estimators that do not go with scaled sites of unequal scope (``TypeError``)."""
    if not isinstance(elbo, Trace_ELBO):
        raise TypeError(
            f"elbo must be Trace_ELBO() or TraceMeanField_ELBO(), not {type(elbo).__name__}"
        )


def check_options(
    is_random: bool,
    kl_weight: float | Schedule,
    kl_reduction: str,
    max_epochs: int,
    patience: int,
    pairs: int,
) -> None:
    """Refuse options of training that are out of range (``ValueError``)."""
    if isinstance(kl_weight, (int, float)) and not kl_weight > 0:
        raise ValueError(
            f"kl_weight must be positive, not {kl_weight}; for no latent scores use Point() in place of Scores"
        )
    if kl_reduction not in KL_REDUCTIONS:
        raise ValueError(f"kl_reduction must be 'sum' or 'mean', not {kl_reduction!r}")
    if not is_random and (kl_weight != 1 or kl_reduction != "sum"):
        raise ValueError(
            "kl_weight and kl_reduction mean nothing here: every attention of the model is Point(), "
            "there are no latent scores"
        )
    if min(max_epochs, patience, pairs) < 1:
        raise ValueError("max_epochs, patience and pairs must be at least 1")


def check_monitor(split: Split) -> None:
    """Refuse a split without leave-one-out items (``ValueError``)."""
    if not len(split.leave_one_out):
        raise ValueError(
            "the split has no leave-one-out item to stop early by: give validation a share of "
            "ratio, use users with more interactions, or name leave_one_out rows in its file"
        )
