"""From scores to attention weights."""

from __future__ import annotations

import torch
from torch import Tensor


def simplex(log_score: Tensor, valid: Tensor, beta: float = 1.0) -> Tensor:
    """Smoothed normalisation ``α = s / (Σ s)^β`` over the valid entries, in log space.

    Args:
        log_score: ``ln s`` (or ``τ ln s`` to sharpen), shape ``[.., L]``.
        valid: Which entries take part, shape broadcasting to ``[.., L]``.
        beta: Smoothing exponent ``0 < β ≤ 1``. At 1 the weights sum to one; below, long histories
            weigh more than short ones (He et al., NAIS, 2018, section 3.3).

    Returns:
        Weights ``[.., L]``: 0 where invalid, and all 0 for an empty history (never NaN).

    Example:
        >>> simplex(torch.zeros(4), torch.tensor([True, True, True, False]), beta=1.0)
        tensor([0.3333, 0.3333, 0.3333, 0.0000])
        >>> simplex(torch.zeros(4), torch.zeros(4, dtype=torch.bool))
        tensor([0., 0., 0., 0.])
    """
    log_score = log_score.masked_fill(~valid, -torch.inf)
    # The shift cancels from value and gradient; it only keeps exp in range.
    shift = log_score.detach().amax(-1, keepdim=True)
    shift = shift.masked_fill(shift == -torch.inf, 0.0)
    score = (log_score - shift).exp()
    total = score.sum(-1, keepdim=True)
    total = total.masked_fill(total == 0, 1.0)
    return score * (total.pow(-beta) * ((1 - beta) * shift).exp())
