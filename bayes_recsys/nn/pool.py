"""Histories as one vector."""

from __future__ import annotations

from torch import Tensor

from bayes_recsys.data.batches import Batch
from bayes_recsys.nn.simplex import simplex


def pool(log_score: Tensor, value: Tensor, batch: Batch, beta: float) -> Tensor:
    """``Σ_j α_j value_j`` with ``α = s / (Σ s)^β`` over each target's history without the target.

    Where all targets share one row of scores, so do all that stand outside the history share one
    vector; only those inside, each without itself, have their own. Then the cost is that of the few
    inside.

    Args:
        log_score: ``ln s``, shape ``[.., G, C, L]``, or ``[.., G, 1, L]`` if the same for all targets.
        value: ``[G, L, K]``.
        batch: The batch.
        beta: Smoothing exponent ``0 ≤ β ≤ 1``: 0 for a sum, 1 for an average.

    Returns:
        ``[.., G, C, K]``; zero where nothing is left of the history.
    """
    if log_score.shape[-2] > 1:
        return simplex(log_score, batch.valid, beta) @ value
    shared = simplex(log_score, batch.history_mask[:, None], beta) @ value
    shared = shared.expand(*shared.shape[:-2], batch.item.shape[1], -1)
    count = int(batch.own.sum(1).max())
    if not count:
        return shared
    inside = batch.own.byte().topk(count, dim=1).indices[..., None]  # and some outside
    valid = batch.valid.gather(1, inside.expand(-1, -1, batch.valid.shape[-1]))
    own = simplex(log_score, valid, beta) @ value
    return shared.scatter(-2, inside.expand_as(own), own)
