"""Learned standard deviations of ln s."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Narrower, the constants of a gamma lose their digits in single precision.
SMALLEST_LEARNED, LARGEST_LEARNED = 0.05, 5.0


class Scale(nn.Module):
    """A learned scale, held between 0.05 and 5.

    ``scale = exp(lo + (hi - lo) σ(r))`` with ``lo, hi`` the logarithms of the bounds, ``σ`` the
    sigmoid, and

    =============  ==========================================  ============
    ``learned``    ``r = b``                                   ``[]``
    ``amortised``  ``r = w · (q ⊙ k) + v · k + b``             ``[G, C, L]``
    =============  ==========================================  ============

    Args:
        dim: Length ``K`` of queries and keys.
        how: ``"learned"`` or ``"amortised"``.
        initial: Scale at the start; a value near the bounds is moved inwards, where it can learn.
    """

    def __init__(self, dim: int, how: str, initial: float):
        super().__init__()
        share = math.log(initial / SMALLEST_LEARNED) / math.log(LARGEST_LEARNED / SMALLEST_LEARNED)
        share = min(max(share, 0.05), 0.95)
        self.bias = nn.Parameter(torch.tensor(math.log(share / (1 - share))))
        self.is_amortised = how == "amortised"
        if self.is_amortised:
            self.of_both = nn.Parameter(torch.zeros(dim))
            self.of_key = nn.Parameter(torch.zeros(dim))

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """The scale for queries ``[G, C, K]`` and keys ``[G, L, K]``."""
        raw = self.bias
        if self.is_amortised:
            raw = raw + (query * self.of_both + self.of_key) @ key.mT
        return self._within_bounds(raw)

    def paired(self, query: Tensor, key: Tensor) -> Tensor:
        """The scale for queries ``[.., K]``, each with its own key ``[.., K]``."""
        raw = self.bias
        if self.is_amortised:
            raw = raw + ((query * self.of_both + self.of_key) * key).sum(-1)
        return self._within_bounds(raw)

    @staticmethod
    def _within_bounds(raw: Tensor) -> Tensor:
        low, high = math.log(SMALLEST_LEARNED), math.log(LARGEST_LEARNED)
        return (low + (high - low) * raw.sigmoid()).exp()
