"""Energies: how well a key fits a query, a real number ``f(q, k)``.

Every energy maps queries ``[.., C, K]`` and keys ``[.., L, K]`` to ``[.., C, L]``, all with all, and
by ``paired`` queries ``[.., K]`` and keys ``[.., K]`` to ``[..]``, each with its own. The two
networks are those of He et al., "NAIS: Neural Attentive Item Similarity Model for Recommendation"
(2018), section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dot(nn.Module):
    """``f(q, k) = q · k``.

    Example:
        >>> Dot()(torch.ones(2, 3), torch.ones(5, 3)).shape
        torch.Size([2, 5])
    """

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT

    def paired(self, query: Tensor, key: Tensor) -> Tensor:
        return (query * key).sum(-1)


class Prod(nn.Module):
    """``f(q, k) = h · ReLU(W (q ⊙ k) + b)``, with ``W [H, K]``, ``b [H]``, ``h [H]``.

    Computed as ``(W diag(q)) k``, one matrix product per query and no ``[.., C, L, K]`` tensor.

    Args:
        dim: Length ``K`` of queries and keys.
        hidden: Width ``H``.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.inner = nn.Linear(dim, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        rows = query.unsqueeze(-2) * self.inner.weight  # [.., C, H, K]
        projected = rows.flatten(-3, -2) @ key.mT  # [.., C·H, L]
        hidden = projected.unflatten(-2, rows.shape[-3:-1])  # [.., C, H, L]
        hidden = torch.relu(hidden + self.inner.bias[:, None])
        return (self.outer.weight @ hidden).squeeze(-2)

    def paired(self, query: Tensor, key: Tensor) -> Tensor:
        return self.outer(self.inner(query * key).relu()).squeeze(-1)


class Concat(nn.Module):
    """``f(q, k) = h · ReLU(W [q ⊕ k] + b)``, with ``W [H, 2K]``, ``b [H]``, ``h [H]``.

    Computed as ``W₁ q + W₂ k + b``, each half once per query or key and added by broadcasting.

    Args:
        dim: Length ``K`` of queries and keys.
        hidden: Width ``H``.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.inner = nn.Linear(2 * dim, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        of_query, of_key = self.inner.weight.chunk(2, dim=1)
        query = query @ of_query.mT + self.inner.bias  # [.., C, H]
        key = of_key @ key.mT  # [.., H, L]
        hidden = torch.relu(query.unsqueeze(-1) + key.unsqueeze(-3))  # [.., C, H, L]
        return (self.outer.weight @ hidden).squeeze(-2)

    def paired(self, query: Tensor, key: Tensor) -> Tensor:
        return self.outer(self.inner(torch.cat([query, key], dim=-1)).relu()).squeeze(-1)


ENERGIES = ("dot", "prod", "concat")


def energy(name: str, dim: int, hidden: int = 16) -> nn.Module:
    """The energy of that name: ``"dot"``, ``"prod"`` or ``"concat"``.

    Raises:
        ValueError: The name is none of these.
    """
    if name == "dot":
        return Dot()
    if name == "prod":
        return Prod(dim, hidden)
    if name == "concat":
        return Concat(dim, hidden)
    raise ValueError(f"energy must be one of {', '.join(ENERGIES)}, not {name!r}")
