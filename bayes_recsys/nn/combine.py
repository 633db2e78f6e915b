"""A global vector and its context become one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

COMBINES = ("prod", "context", "sum", "mean", "cat", "att")


class Combine(nn.Module):
    """Combine a global vector ``p [.., K]`` with a context ``c [.., K]``.

    ===========  ==========================================================  =========
    ``prod``     ``layernorm(p ⊙ c)``, BAMF as first published               ``K``
    ``context``  ``c``: no residual of the global vector                     ``K``
    ``sum``      ``p + c``                                                   ``K``
    ``mean``     ``(p + c) / 2``                                             ``K``
    ``cat``      ``p ⊕ c``: left to the layers behind                        ``2K``
    ``att``      ``a p + (1 - a) c``, ``(a, 1 - a) = softmax(w·p, w·c)``     ``K``
    ===========  ==========================================================  =========

    The alternatives to ``prod`` are those of the author's follow-up, "Bayesian Attentional
    Collaborative Filtering" (Wang and Lee, 2025).

    Args:
        how: One of the names above.
        dim: Length ``K``.

    Raises:
        ValueError: The name is none of these.

    Example:
        >>> Combine("mean", 2)(torch.tensor([1.0, 3.0]), torch.tensor([3.0, 5.0]))
        tensor([2., 4.])
    """

    def __init__(self, how: str, dim: int):
        super().__init__()
        if how not in COMBINES:
            raise ValueError(f"combine must be one of {', '.join(COMBINES)}, not {how!r}")
        self.how = how
        self.width = 2 * dim if how == "cat" else dim
        if how == "prod":
            self.norm = nn.LayerNorm(dim)
        if how == "att":
            self.gate = nn.Linear(dim, 1, bias=False)

    def forward(self, vector: Tensor, context: Tensor) -> Tensor:
        """Combine, broadcasting ``vector`` to ``context``; shape ``[.., width]``."""
        if self.how == "prod":
            return self.norm(vector * context)
        if self.how == "context":
            return context
        if self.how == "sum":
            return vector + context
        if self.how == "mean":
            return (vector + context) / 2
        if self.how == "cat":
            return torch.cat(torch.broadcast_tensors(vector, context), dim=-1)
        share = torch.sigmoid(self.gate(vector) - self.gate(context))
        return share * vector + (1 - share) * context
