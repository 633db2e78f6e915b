"""What is checked before and after training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.util import site_is_subsample

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.splits import Split
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.inference.state import State
from bayes_recsys.likelihoods import Likelihood
from bayes_recsys.models.base import Model
from bayes_recsys.models.own_guide import Guide, check_guide, give_guide
from bayes_recsys.posterior.summary import score_summary

# Below these a site's scores count as their prior: sd of ln(posterior mean / prior mean) within a
# history, nats an entry above the least divergence, and contraction where the width is learned.
COLLAPSED_SPREAD, COLLAPSED_EXCESS, COLLAPSED_CONTRACTION = 0.02, 0.005, 0.02


# Names of plates, observed sites, and of what stands beside the scores for ArviZ.
RESERVED = {
    "audience", "audience_title", "block", "candidate", "chain", "choice", "draw", "history", "history_title",
    "item", "item_title", "label", "logit", "negative", "positive", "preference", "user",
}  # fmt: skip


class CollapseWarning(UserWarning):
    """The scores ended as their prior."""


def warn_of_collapse(model: Model) -> None:
    """Warn if the scores of a site are their prior: the divergence at its floor, the means apart by
    no more than a constant, and a learned width no narrower."""
    if not model.is_random or model.own_guide is not None:
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
            "Objective(kl_weight=0.01, kl_reduction='mean')",
            CollapseWarning,
            stacklevel=3,
        )


def check_arguments(
    model: Model,
    split: Split,
    objective: Objective,
    training: Training,
    callbacks: Sequence[Callable[[State], None]],
) -> None:
    """Refuse arguments of other kinds, by name (``TypeError``)."""
    if isinstance(objective, Likelihood):
        raise TypeError(f"objective must be Objective({objective!r}, ..), not its likelihood alone")
    kinds = (("model", Model), ("split", Split), ("objective", Objective), ("training", Training))
    for (name, kind), value in zip(kinds, (model, split, objective, training), strict=True):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of the class {kind.__name__}, not {value!r}")
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise TypeError(f"callbacks must be a list of functions of the state, not {callbacks!r}")


def check_tempering(is_random: bool, objective: Objective) -> None:
    """Refuse a weight of scores' terms where there are no scores (``ValueError``)."""
    if not is_random and (objective.kl_weight != 1 or objective.kl_reduction != "sum"):
        raise ValueError(
            "kl_weight and kl_reduction mean nothing here: every attention of the model is Point(), "
            "there are no latent scores"
        )


def check_sites(model: Model, batch: Batch) -> None:
    """Refuse a pair whose latent sites differ; Pyro only warns, and trains the wrong thing.

    Raises:
        ValueError: A latent site of the model is missing in the guide, or the reverse, is scaled otherwise, or has
            the name of something else.
    """
    with torch.no_grad():
        names = set(model.attend(batch))
    taken = names & RESERVED | {name for name in names if f"{name}_weight" in names}
    if taken:
        raise ValueError(
            f"an attention site cannot be called {sorted(taken)[0]!r}, which is the name of something "
            "else in Pyro's trace or ArviZ's tree; call it user_attention, say"
        )
    with torch.no_grad(), pyro.validation_enabled(False):
        guide = poutine.trace(model.guide).get_trace(batch)
        replayed = poutine.trace(poutine.replay(model.model, trace=guide)).get_trace(batch)
    in_model, in_guide = (set(_latent(trace)) for trace in (replayed, guide))
    if in_model != in_guide:
        raise ValueError(
            f"latent sites of model and guide differ: only in the model "
            f"{sorted(in_model - in_guide)}, only in the guide {sorted(in_guide - in_model)}"
        )
    for name in in_model:
        ours, theirs = (torch.as_tensor(trace.nodes[name]["scale"]) for trace in (replayed, guide))
        if not torch.allclose(*torch.broadcast_tensors(ours.double(), theirs.double())):
            raise ValueError(
                f"the guide's {name!r} is not scaled as the model's, so that their terms would not meet: draw "
                "it within poutine.scale(scale=batch.scale), and with scope 'user' within "
                "poutine.scale(scale=batch.share[:, None]) too"
            )


def take_guide(model: Model, guide: Guide | None, batch: Batch) -> None:
    """Train this guide, or the amortised one; what is refused leaves the model as it was."""
    before = model.own_guide
    give_guide(model, guide)
    if guide is None:
        return
    try:
        check_guide(guide, model, batch)
        with pyro.get_param_store().scope():
            check_sites(model, batch)
    except BaseException:
        give_guide(model, before)
        raise


def _latent(trace: poutine.Trace) -> Iterator[str]:
    """Names of latent sites; what a guide draws on the way to them is none."""
    for name in trace.stochastic_nodes:
        node = trace.nodes[name]
        if not site_is_subsample(node) and not node["infer"].get("is_auxiliary"):
            yield name


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
