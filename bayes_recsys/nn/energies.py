"""Energies: how well a key fits a query, a real number ``f(q, k)``.

Every energy maps queries ``[.., C, K]`` and keys ``[.., L, K]`` to ``[.., C, L]``, all with all, and
by ``paired`` queries ``[.., K]`` and keys ``[.., K]`` to ``[..]``, each with its own. The two
networks are those of He et al., "NAIS: Neural Attentive Item Similarity Model for Recommendation"
(2018), section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Dot(nn.Module):
    """``f(q, k) = q · k``.

    Example:
        >>> Dot()(torch.ones(2, 3), torch.ones(5, 3)).shape
        torch.Size([2, 5])
    """

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """All with all, ``[.., C, L]``."""
        if query.ndim == key.ndim == 3:
            return torch.bmm(query, key.mT)
        return query @ key.mT

    def paired(self, query: Tensor, key: Tensor) -> Tensor:
        """Each with its own, ``[..]``."""
        return (query * key).sum(-1)


class Prod(nn.Module):
    """``f(q, k) = h · ReLU(W (q ⊙ k) + b)``, with ``W [H, K]``, ``b [H]``, ``h [H]``.

    Computed as ``(W diag(q)) k``, a block at a time: no ``[.., C, L, K]`` tensor, and the hidden layer
    ``[C, H, L]`` of one block only, made once more for its gradient.

    Args:
        dim: Length ``K`` of queries and keys.
        hidden: Width ``H``.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.inner = nn.Linear(dim, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """All with all, ``[.., C, L]``."""
        rows = query.unsqueeze(-2) * self.inner.weight  # [.., C, H, K]
        blocks = rows.reshape(-1, *rows.shape[-3:]), key.reshape(-1, *key.shape[-2:])
        energy = _ProdLayer.apply(*blocks, self.inner.bias, self.outer.weight[0])
        return energy.view(*query.shape[:-1], key.shape[-2])

    def paired(self, query: Tensor, key: Tensor) -> Tensor:
        """Each with its own, ``[..]``."""
        return self.outer(self.inner(query * key).relu()).squeeze(-1)


class Concat(nn.Module):
    """``f(q, k) = h · ReLU(W [q ⊕ k] + b)``, with ``W [H, 2K]``, ``b [H]``, ``h [H]``.

    Computed as ``W₁ q + W₂ k + b``, each half once per query or key and added by broadcasting, a block
    at a time: the hidden layer ``[C, H, L]`` of one block only, made once more for its gradient.

    Args:
        dim: Length ``K`` of queries and keys.
        hidden: Width ``H``.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.inner = nn.Linear(2 * dim, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """All with all, ``[.., C, L]``."""
        of_query, of_key = self.inner.weight.chunk(2, dim=1)
        query = query @ of_query.mT + self.inner.bias  # [.., C, H]
        key = of_key @ key.mT  # [.., H, L]
        blocks = query.reshape(-1, *query.shape[-2:]), key.reshape(-1, *key.shape[-2:])
        energy = _ConcatLayer.apply(*blocks, self.outer.weight[0])
        return energy.view(*query.shape[:-1], key.shape[-1])

    def paired(self, query: Tensor, key: Tensor) -> Tensor:
        """Each with its own, ``[..]``."""
        return self.outer(self.inner(torch.cat([query, key], dim=-1)).relu()).squeeze(-1)


class _ConcatLayer(torch.autograd.Function):
    """``Σ_h w_h ReLU(q_h + k_h)``, ``[G, C, L]`` from ``q [G, C, H]``, ``k [G, H, L]`` and ``w [H]``.

    With ``M = [q + k > 0]``: ``∂q = w Σ_l M ∂``, ``∂k = w Σ_c M ∂``, and ``∂w = Σ (q + k) M ∂``, for which
    both sums serve once more.
    """

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, weight)
        out = query.new_empty(*query.shape[:2], key.shape[2])
        hidden = query.new_empty(query.shape[1], *key.shape[1:])
        for g in range(len(query)):
            torch.add(query[g, :, :, None], key[g], out=hidden)
            torch.matmul(weight, hidden.relu_(), out=out[g])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, weight = ctx.saved_tensors
        of_query, of_key = torch.empty_like(query), torch.empty_like(key)
        hidden = query.new_empty(query.shape[1], *key.shape[1:])
        for g, minus in enumerate(-key):
            torch.gt(query[g, :, :, None], minus, out=hidden).mul_(slope[g, :, None])
            torch.sum(hidden, -1, out=of_query[g])
            torch.sum(hidden, 0, out=of_key[g])
        of_weight = (query * of_query).sum((0, 1)) + (key * of_key).sum((0, 2))
        return of_query * weight, of_key * weight[:, None], of_weight


class _ProdLayer(torch.autograd.Function):
    """``Σ_h w_h ReLU(r_h · k + b_h)``, ``[G, C, L]`` from ``r [G, C, H, K]``, ``k [G, L, K]`` and ``b, w
    [H]``."""

    @staticmethod
    def forward(ctx, rows: Tensor, key: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, key, bias, weight)
        out = rows.new_empty(*rows.shape[:2], key.shape[1])
        hidden = rows.new_empty(*rows.shape[1:3], key.shape[1])
        for g in range(len(rows)):
            _ProdLayer._hidden(rows[g], key[g], bias, hidden)
            torch.matmul(weight, hidden.relu_(), out=out[g])
        return out

    @staticmethod
    def _hidden(rows: Tensor, key: Tensor, bias: Tensor, out: Tensor) -> None:
        torch.mm(rows.flatten(0, 1), key.mT, out=out.view(-1, len(key)))
        out.add_(bias[:, None])

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows, key, bias, weight = ctx.saved_tensors
        of_rows, of_key = torch.empty_like(rows), torch.empty_like(key)
        of_hidden = rows.new_empty(rows.shape[:3])
        hidden = rows.new_empty(*rows.shape[1:3], key.shape[1])
        for g in range(len(rows)):
            _ProdLayer._hidden(rows[g], key[g], bias, hidden)
            hidden.gt_(0.0).mul_(slope[g, :, None])  # less a factor w
            torch.sum(hidden, -1, out=of_hidden[g])
            flat = hidden.view(-1, len(key[g]))
            torch.mm(flat, key[g], out=of_rows[g].view(-1, key.shape[2]))
            torch.mm(flat.mT, (rows[g] * weight[:, None]).flatten(0, 1), out=of_key[g])
        of_weight = (rows * of_rows).sum((0, 1, 3)) + bias * of_hidden.sum((0, 1))
        return of_rows * weight[:, None], of_key, of_hidden.sum((0, 1)) * weight, of_weight


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
