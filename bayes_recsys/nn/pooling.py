"""Histories as one vector: the kernel of attention."""

from __future__ import annotations

from torch import Tensor

from bayes_recsys.data.batches import left_out
from bayes_recsys.nn.weights import simplex


def pool(
    log_score: Tensor, value: Tensor, there: Tensor, own: Tensor, inside: Tensor, beta: float
) -> Tensor:
    """``Σ_j α_j value_j`` with ``α = s / (Σ s)^β`` over each target's history without the target.

    A pure function of tensors. Where all targets share one row of scores, so do all that stand
    outside the history share one vector; only those inside, each without itself, have their own. Then
    the cost is that of the few inside.

    Args:
        log_score: ``ln s``, shape ``[.., G, C, L]``, or ``[.., G, 1, L]`` if the same for all targets.
        value: ``[G, L, K]``.
        there: Which entries are real, ``[G, L]``.
        own: Where each target stands in the history, ``[G, C]``; ``L`` where it does not.
        inside: The targets that do, ``[G, W]``, and some that do not where a row has fewer.
        beta: Smoothing exponent ``0 ≤ β ≤ 1``: 0 for a sum, 1 for an average.

    Returns:
        ``[.., G, C, K]``; zero where nothing is left of the history.

    Example:
        >>> import torch
        >>> there, own = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3, 0]])
        >>> value = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> pool(torch.zeros(1, 1, 3), value, there, own, torch.tensor([[1]]), beta=1.0)
        tensor([[[2.0000],
                 [2.5000]]])
    """
    if log_score.shape[-2] > 1:
        return simplex(log_score, left_out(there, own), beta) @ value
    shared = simplex(log_score, there[:, None], beta) @ value
    shared = shared.expand(*shared.shape[:-2], own.shape[1], -1)
    if not inside.shape[1]:
        return shared
    without = simplex(log_score, left_out(there, own.gather(1, inside)), beta) @ value
    return shared.scatter(-2, inside[..., None].expand_as(without), without)
