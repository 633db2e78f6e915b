"""Models that concatenate what their parts predict."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch
from bayes_recsys.models.base import Model
from bayes_recsys.nn.attention import Attended


class Parts(Model):
    """``x_ui = w · [z¹_ui ⊕ z²_ui ⊕ ..]``: predictive vectors of deterministic parts under one layer.

    A subclass's constructor makes the parts and calls :meth:`join`.
    """

    def join(self, parts: Sequence[tuple[nn.Module, int]]) -> None:
        """Put the parts under a last layer.

        Args:
            parts: Modules from a batch to a predictive vector ``[G, C, D]``, each with its length ``D``.
        """
        self.parts = nn.ModuleList([part for part, _ in parts])
        self.match = nn.Linear(sum(dim for _, dim in parts), 1, bias=False)

    def attend(self, batch: Batch) -> dict[str, Attended]:
        return {}

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        return self.match(torch.cat([part(batch) for part in self.parts], dim=-1)).squeeze(-1)


class Product(nn.Module):
    """``p_u ⊙ q_i`` of two tables, ``[G, C, K]``, through a tower if there is one."""

    def __init__(self, user: nn.Embedding, item: nn.Embedding, tower: nn.Module | None = None):
        super().__init__()
        self.user, self.item = user, item
        self.tower = nn.Identity() if tower is None else tower

    def forward(self, batch: Batch) -> Tensor:
        """``[G, C, K]``, or what the tower makes of it."""
        return self.tower(self.user(batch.user)[:, None] * self.item(batch.item))


class Concatenation(nn.Module):
    """``tower(p_u ⊕ q_i)`` of two tables, ``[G, C, D]``."""

    def __init__(self, user: nn.Embedding, item: nn.Embedding, tower: nn.Module):
        super().__init__()
        self.user, self.item, self.tower = user, item, tower

    def forward(self, batch: Batch) -> Tensor:
        """``[G, C, D]``."""
        user, item = self.user(batch.user)[:, None], self.item(batch.item)
        return self.tower(torch.cat([user.expand_as(item), item], dim=-1))
