"""Did the scores learn anything beyond their prior?"""

from __future__ import annotations

import pandas as pd
import torch
from torch.distributions import kl_divergence

from bayes_recsys.arguments import check_whole
from bayes_recsys.data.batches import candidates
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.draws import draw
from bayes_recsys.scores.distribution import LEARNED_SCALES
from bayes_recsys.streams import stream

DRAWS = 10


@torch.no_grad()
def score_summary(
    model: Model, *, users: int = 100, items: int = 20, seed: int = 0
) -> pd.DataFrame:
    """How far the guide's posterior of the scores is from their prior, by site: what it claims, not what the data says
    (:meth:`~bayes_recsys.posterior.exact_scores.ExactScores.summary` does).

    For given widths of guide and prior, the divergence of a score cannot fall below a floor,
    reached where the guide's mean is the prior's but for a constant. What it has above the floor
    is how far training moved the means; the contraction is how far it narrowed the width.

    Args:
        model: A model with latent scores.
        users: Number of random users with a history to average over.
        items: Random targets per user.
        seed: Seed of both.

    Returns:
        One row per site, of means over history entries in nats.

        ``kl``
            divergence of an entry's posterior from its prior
        ``floor``
            the least it can be with these widths
        ``excess``
            ``kl - floor``
        ``spread``
            standard deviation over a history of ``ln(posterior mean / prior mean)``: at 0 the
            scores are their prior but for a constant, and attention weighs all alike
        ``contraction``
            ``1 - Var_q[ln s] / Var_p[ln s]``: 0 where the posterior is as wide as the prior. NaN
            where the guide's width was given: it says nothing of the data
        ``effective``
            share of the history that carries the attention, ``exp(entropy of α / Σα) / L``, in
            (0, 1]; 1 is even attention. Mean over posterior draws
        ``prior_effective``
            the same over draws from the prior

    Raises:
        ValueError: The model has no latent scores, or ``users`` or ``items`` is below 1.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> score_summary(br.models.BAMF(br.data.histories(split))).columns.tolist()
        ['kl', 'floor', 'excess', 'spread', 'contraction', 'effective', 'prior_effective']
    """
    if not model.is_random:
        raise ValueError("the model is deterministic: it has no scores to summarise")
    if model.own_guide is not None:
        raise ValueError(
            "divergences are known of the amortised guide alone, and the model has a guide of its own"
        )
    check_whole("users", users)
    check_whole("items", items)
    rng = stream("score summary", seed)
    known = model.histories
    has_history = known.history.lengths.nonzero()[:, 0].numpy()
    chosen = rng.choice(has_history, min(users, len(has_history)), replace=False)
    user = torch.from_numpy(chosen)
    item = torch.from_numpy(rng.integers(known.n_items, size=(len(chosen), items)))
    batch = candidates(known, user, item).to(model.device)
    posterior, prior = (
        _effective(model, user, item, source, seed) for source in ("posterior", "prior")
    )
    rows = {}
    for name, site in model.attend(batch).items():
        if not site.attention.is_random:
            continue
        q, p = site.guide(), site.prior()
        floor = p.family.divergence_floor(q.family).to(q.log_mean).expand(site.mask.shape)
        kl, floor = (values[site.mask].mean().item() for values in (kl_divergence(q, p), floor))
        contraction = torch.full_like(q.log_mean, torch.nan)
        if site.attention.scores.guide.scale in LEARNED_SCALES:
            contraction = 1 - q.variance_log / p.variance_log
        rows[name] = {
            "kl": kl,
            "floor": floor,
            "excess": kl - floor,
            "spread": _within(q.log_mean - p.log_mean, site.mask),
            "contraction": contraction[site.mask].mean().item(),
            "effective": posterior[name],
            "prior_effective": prior[name],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _effective(
    model: Model, user: torch.Tensor, item: torch.Tensor, source: str, seed: int
) -> dict[str, float]:
    """By site, the mean share of the history that carries the weights; one user at a time is drawn for."""
    total: dict[str, list[torch.Tensor]] = {}
    for one, items in zip(user.split(1), item.split(1), strict=True):
        drawn = draw(model, one, items, draws=DRAWS, source=source, seed=seed)
        for name, weight in drawn.weights.items():
            share = weight.nan_to_num() / weight.nansum(-1, keepdim=True)
            entropy = -torch.special.xlogy(share, share).sum(-1)
            length = drawn.valid[name].sum(-1)
            total.setdefault(name, []).append((entropy.exp() / length)[:, length > 0].flatten())
    return {name: torch.cat(parts).mean().item() for name, parts in total.items()}


def _within(values: torch.Tensor, valid: torch.Tensor) -> float:
    """Root of the mean variance of ``values [G, C, L]`` over the valid entries of each row."""
    length = valid.sum(-1, keepdim=True)
    mean = (values * valid).sum(-1, keepdim=True) / length.clamp(min=1)
    square = ((values - mean).square() * valid).sum(-1, keepdim=True) / length.clamp(min=1)
    return square[length > 0].mean().sqrt().item()
