"""Which entries of a row there are, without a table of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Present:
    """Which of the entries ``[G, C, L]`` there are: ``L`` for each of ``G`` blocks' ``C`` rows.

    Rows of a history differ by one entry at most, the row's own. So they are kept as one row a block
    and a list of those left out, and tables of numbers are cleared by the one and the other.

    Args:
        there: Which entries are real, ``[G, 1, L]``, the same for all rows of a block, or
            ``[G, C, L]``.
        n_rows: How many rows ``C`` a block has.
        own: Entries left out besides, as positions in the flattened ``[G, C, L]``, shape ``[n]``;
            each is one of those that are there.
        rows: Which rows are real, ``[G, C]``; ``None`` for all.

    Example:
        >>> there = torch.tensor([[[True, True, False]]])
        >>> present = Present(there, n_rows=2, own=torch.tensor([4]))
        >>> present.mask.int()
        tensor([[[1, 1, 0],
                 [1, 0, 0]]], dtype=torch.int32)
        >>> present.clear_(torch.full((1, 2, 3), 7.0))
        tensor([[[7., 7., 0.],
                 [7., 0., 0.]]])
    """

    there: Tensor
    n_rows: int
    own: Tensor | None = None
    rows: Tensor | None = None

    @classmethod
    def without(cls, there: Tensor, own: Tensor, rows: Tensor | None = None) -> Present:
        """Entries ``there [G, L]`` without each row's own, at ``own [G, C]``; ``L`` where it has none."""
        blocks, length = there.shape
        first = torch.arange(0, own.numel() * length, max(length, 1), device=own.device)
        has = (own < length) & there.gather(1, own.clamp(max=length - 1))
        place = (own + first.view(own.shape))[has] if blocks else own.flatten()
        return cls(there[:, None], own.shape[1], place, rows)

    @property
    def shape(self) -> torch.Size:
        """``[G, C, L]``."""
        blocks, _, length = self.there.shape
        return torch.Size((blocks, self.n_rows, length))

    @cached_property
    def mask(self) -> Tensor:
        """The table itself, ``[G, C, L]``: no entry of a row that is not real."""
        mask = self.there.expand(self.shape)
        if self.own is not None:
            mask = mask.contiguous().view(-1).index_fill(0, self.own, False).view(self.shape)
        return mask if self.rows is None else mask & self.rows[..., None]

    @cached_property
    def count(self) -> Tensor:
        """How many entries each row has, real or not, ``[G, C]``, in single precision."""
        count = self.there.sum(-1).expand(self.shape[:2]).float()
        if self.own is None:
            return count
        rows = self.own // self.shape[2]
        return count.flatten().index_add(0, rows, count.new_full(rows.shape, -1.0)).view_as(count)

    @cached_property
    def _factor(self) -> Tensor | None:
        """1 where an entry is, 0 where it is not; ``None`` where all are. (Multiplying by booleans
        takes twenty times as long.)"""
        return None if self.there.is_cpu and self.there.all() else self.there.float()

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the entries that each row has, ``[.., G, C]`` from ``values [.., G, C, L]``."""
        if self._factor is not None:
            values = values * self._factor.to(values.dtype)
        total = values.sum(-1)
        if self.own is not None:
            flat = values.reshape(*values.shape[:-3], -1)
            rows = self.own // self.shape[2]
            of_rows = total.view(*total.shape[:-2], -1)
            of_rows.index_add_(-1, rows, flat.index_select(-1, self.own), alpha=-1)
        return total

    def clear_(self, values: Tensor) -> Tensor:
        """The finite ``values [.., G, C, L]`` themselves, in place 0 where no entry is (of a row that
        is not real, what is there of any row stays)."""
        if self._factor is not None:
            values.mul_(self._factor.to(values.dtype))
        if self.own is not None:
            values.view(*values.shape[:-3], -1).index_fill_(-1, self.own, 0.0)
        return values
