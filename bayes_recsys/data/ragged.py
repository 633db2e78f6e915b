"""Rows of different lengths in two flat tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """Integer rows of different lengths, stored as compressed rows.

    Args:
        offsets: Where each row starts in ``values``, shape ``[R + 1]``.
        values: All rows one after the other, shape ``[offsets[-1]]``.

    Example:
        >>> rows = Ragged.from_pairs(torch.tensor([1, 0, 1]), torch.tensor([7, 5, 6]), n_rows=3)
        >>> [rows.row(r).tolist() for r in range(3)]
        [[5], [6, 7], []]
        >>> values, mask = rows.padded(torch.tensor([0, 1]))
        >>> values.tolist(), mask.tolist()
        ([[5, 0], [6, 7]], [[True, False], [True, True]])
    """

    offsets: Tensor
    values: Tensor

    @classmethod
    def from_pairs(cls, rows: Tensor, values: Tensor, n_rows: int) -> Ragged:
        """Group ``values`` by ``rows`` (both ``[n]``); each row comes out sorted."""
        width = int(values.max()) + 1 if len(values) else 1
        key = rows * width + values
        if (key[1:] < key[:-1]).any():
            key = key.sort().values
        return cls._of_lengths(torch.bincount(rows, minlength=n_rows), key % width)

    @classmethod
    def _of_lengths(cls, lengths: Tensor, values: Tensor) -> Ragged:
        offsets = lengths.new_zeros(len(lengths) + 1)
        torch.cumsum(lengths, 0, out=offsets[1:])
        return cls(offsets, values)

    def on(self, device: torch.device | str) -> Ragged:
        """The same rows on another device, copied there once and kept."""
        device = torch.device(device)
        if device == self.values.device:
            return self
        if device not in self._copies:
            self._copies[device] = Ragged(self.offsets.to(device), self.values.to(device))
        return self._copies[device]

    @cached_property
    def _copies(self) -> dict[torch.device, Ragged]:
        return {}

    def check(self, n_rows: int, n_values: int) -> None:
        """Refuse what is no table of so many rows of codes below ``n_values`` (``ValueError``)."""
        offsets, values = self.offsets, self.values
        whole = not (offsets.is_floating_point() or values.is_floating_point())
        if offsets.shape != (n_rows + 1,) or values.ndim != 1 or not whole:
            raise ValueError(f"not {n_rows} rows of codes")
        if offsets[0] != 0 or offsets[-1] != len(values) or (offsets.diff() < 0).any():
            raise ValueError("rows that do not begin where the one before ends")
        if len(values) and (values.min() < 0 or values.max() >= n_values):
            raise ValueError(f"codes beyond {n_values}")

    def kept(self, keep: Tensor) -> Ragged:
        """Those values that a mask ``[offsets[-1]]`` says."""
        lengths = torch.bincount(self.rows[keep], minlength=len(self))
        return self._of_lengths(lengths, self.values[keep])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Tensor:
        """Length of every row, shape ``[R]``."""
        return self.offsets.diff()

    @cached_property
    def rows(self) -> Tensor:
        """Row number of every value, shape ``[offsets[-1]]``."""
        every = torch.arange(len(self), device=self.values.device)
        return torch.repeat_interleave(every, self.lengths)

    def row(self, r: int) -> Tensor:
        """Row ``r``, a view of shape ``[lengths[r]]``."""
        return self.values[self.offsets[r] : self.offsets[r + 1]]

    def padded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The given rows ``[G]`` as a zero-padded table ``[G, L]`` and its mask ``[G, L]``.

        ``L`` is the longest of these rows, and at least 1 so that reductions over it are defined.
        """
        lengths = self.lengths[rows]
        longest = max(1, int(lengths.max()) if len(rows) else 1)
        column = torch.arange(longest, device=self.values.device)
        mask = column < lengths[:, None]
        index = (self.offsets[rows][:, None] + column)[mask]
        table = self.values.new_zeros(mask.shape)
        table[mask] = self.values[index]
        return table, mask

    def take(self, rows: Tensor) -> Ragged:
        """The given rows ``[G]``, in that order, one after the other."""
        lengths = self.lengths[rows]
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        shift = torch.repeat_interleave(self.offsets[rows] - offsets[:-1], lengths)
        return Ragged(offsets, self.values[shift + torch.arange(len(shift), device=shift.device)])

    def contains(self, rows: Tensor, values: Tensor) -> Tensor:
        """Whether row ``rows[..]`` holds ``values[..]``; the rows must be sorted, as
        :meth:`from_pairs` leaves them."""
        if not len(self.values):
            return torch.zeros(values.shape, dtype=torch.bool, device=values.device)
        width, keys = self._keys
        wanted = rows * width + values.clamp(max=width - 1)
        found = torch.searchsorted(keys, wanted.contiguous()).clamp(max=len(keys) - 1)
        return (keys[found] == wanted) & (values < width)

    @cached_property
    def _keys(self) -> tuple[int, Tensor]:
        """Row and value as one rising number, and its place value."""
        width = int(self.values.max()) + 1
        return width, self.rows * width + self.values


def of_similar(length: Tensor, at_once: int) -> Iterator[Tensor]:
    """Positions ``[..]`` of similar ``length [n]``, so many together that padded to the longest they have no
    more than ``at_once`` entries (a single one may exceed it)."""
    order = length.argsort(stable=True)
    ordered, start = length[order].tolist(), 0
    for end in range(1, len(ordered) + 1):
        if end == len(ordered) or ordered[end] * (end + 1 - start) > at_once:
            yield order[start:end]
            start = end
