"""Ratings as integer codes with the vocabularies of the original ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class DataWarning(UserWarning):
    """A documented rule was applied to imperfect data (duplicates, users too short to split)."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file, line or column, and what to do."""


@dataclass(frozen=True)
class Interactions:
    """Who interacted with what: every row is a positive.

    Args:
        user: User codes ``0..M-1``, shape ``[n]``.
        item: Item codes ``0..N-1``, shape ``[n]``.
        user_ids: Original user ids as text, shape ``[M]``; ``user_ids[code]`` is the id.
        item_ids: Original item ids as text, shape ``[N]``.
        timestamp: Seconds (or any increasing number) of each row, shape ``[n]``, or ``None``.
        titles: Item titles, shape ``[N]``, or ``None`` where the data has none.
        name: What to call the data set in reports.
    """

    user: np.ndarray
    item: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray
    timestamp: np.ndarray | None = None
    titles: np.ndarray | None = None
    name: str = "interactions"

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def __repr__(self) -> str:
        density = len(self) / max(1, self.n_users * self.n_items)
        return (
            f"Interactions({self.name!r}: {len(self):,} interactions, {self.n_users:,} users, "
            f"{self.n_items:,} items, density {density:.2%})"
        )
