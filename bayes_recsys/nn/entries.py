"""What a target attends over: the user's history, or the audience of the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding as look_up

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.nn.pooling import pool
from bayes_recsys.nn.weights import simplex
from bayes_recsys.scores.present import Present


@dataclass(frozen=True)
class HistoryEntries:
    """The user's history without the target, ``R_u \\ {i}``: the same ``L`` entries for all of a
    block's targets.

    Args:
        batch: The batch.
        key: ``[G, L, K]``.
        value: ``[G, L, V]``.
    """

    over: ClassVar = "history"
    batch: Batch
    key: Tensor
    value: Tensor

    @property
    def code(self) -> Tensor:
        """Item codes of the entries, ``[G, L]``."""
        return self.batch.history

    @property
    def present(self) -> Present:
        """Which of them each target attends over."""
        return self.batch.present

    def of_pairs(self, function: nn.Module, query: Tensor) -> Tensor:
        """A function of every query ``[G, C or 1, K]`` and key, ``[G, C or 1, L]``."""
        return function(query, self.key)

    def of_keys(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of every key, ``[.., K]`` to ``[.., 1]``; shape ``[G, 1, L]``."""
        return function(self.key).mT

    def pool(self, log_score: Tensor, beta: float) -> Tensor:
        """``Σ_j α_j value_j`` from ``ln s``, shape ``[.., G, C, V]``."""
        return pool(log_score, self.value, self.batch, beta)

    def sum_exp(self, values: Tensor) -> Tensor:
        """``Σ_j exp(value_j)`` over each target's entries, ``[G, C, 1]`` from values ``[G, 1, L]`` within ±10:
        then nothing is lost in double precision by taking a target's own from the sum of all."""
        score = (values.double().exp() * self.batch.history_mask[:, None]).squeeze(1)
        own = torch.cat([score, score.new_zeros(len(score), 1)], dim=1).gather(1, self.batch.own)
        return (score.sum(1, keepdim=True) - own)[..., None].to(values.dtype)


@dataclass(frozen=True)
class AudienceEntries:
    """The audience of each target without the user, ``R_i \\ {u}``: other entries for every target.

    Audiences are short and few are long, so vectors are gathered for the ``E`` entries that
    there are, and only numbers are padded to ``[G, C, L]``.

    Args:
        batch: The batch.
        code: User codes of the audiences, ``[G, C, L]``; padding is 0.
        valid: Which of them the target attends over, ``[G, C, L]``.
        key: ``[M, K]``, of all users.
        value: ``[M, K]``, of all users.
    """

    over: ClassVar = "audience"
    batch: Batch
    code: Tensor
    valid: Tensor
    key: Tensor
    value: Tensor

    @classmethod
    def of(cls, batch: Batch, audience: Ragged, key: Tensor, value: Tensor) -> AudienceEntries:
        """The entries of a batch's targets, from the audiences of all items."""
        real = batch.mask
        rows, mask = audience.on(key.device).padded(batch.item[real])
        code = rows.new_zeros(*real.shape, rows.shape[-1])
        valid = mask.new_zeros(code.shape)
        code[real], valid[real] = rows, mask
        return cls(batch, code, valid & (code != batch.user[:, None, None]), key, value)

    @cached_property
    def present(self) -> Present:
        """Which of them each target attends over."""
        return Present(self.valid, self.valid.shape[1], rows=self.batch.mask)

    @cached_property
    def _place(self) -> Tensor:
        """Where in the flattened ``[G, C, L]`` the entries are, ``[E]``."""
        return self.valid.flatten().nonzero()[:, 0]

    @cached_property
    def _target(self) -> Tensor:
        """Target of every entry, a row of the flattened ``[G, C]``, ``[E]``."""
        return self._place // self.code.shape[-1]

    @cached_property
    def _user(self) -> Tensor:
        return self.code.flatten()[self._place]

    def of_pairs(self, function: nn.Module, query: Tensor) -> Tensor:
        """A function of every query ``[G, C or 1, K]`` and its keys, ``[G, C, L]`` (1 where there is
        no entry)."""
        query = query.expand(*self.code.shape[:2], -1).flatten(0, 1)
        return self._padded(
            function.paired(look_up(self._target, query), look_up(self._user, self.key))
        )

    def of_keys(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of every key, ``[.., K]`` to ``[.., 1]``; shape ``[G, C, L]``."""
        return self._padded(look_up(self._user, function(self.key))[:, 0])

    def pool(self, log_score: Tensor, beta: float) -> Tensor:
        """``Σ_v α_v value_v`` from ``ln s``, shape ``[.., G, C, K]``."""
        weight = simplex(log_score, self.valid, beta).flatten(-3)
        weighed = weight.index_select(-1, self._place)[..., None] * look_up(self._user, self.value)
        blocks, targets, _ = self.code.shape
        pooled = weighed.new_zeros(*weighed.shape[:-2], blocks * targets, weighed.shape[-1])
        return pooled.index_add(-2, self._target, weighed).unflatten(-2, (blocks, targets))

    def sum_exp(self, values: Tensor) -> Tensor:
        """``Σ_j exp(value_j)`` over each target's entries, ``[G, C, 1]`` from ``[G, C, L]``."""
        return (values.exp() * self.valid).sum(-1, keepdim=True)

    def _padded(self, values: Tensor) -> Tensor:
        if not values.ndim:  # one number for all
            return values
        table = values.new_ones(self.code.numel())
        return table.index_copy(0, self._place, values).view(self.code.shape)


Entries = HistoryEntries | AudienceEntries
