"""Which interactions train, validate and test."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from bayes_recsys.data.interactions import DataError, DataWarning, Interactions
from bayes_recsys.data.ragged import Ragged


@dataclass(frozen=True)
class Split:
    """A partition of interactions.

    Args:
        interactions: All of them. Codes cover every item of every part, so that an item that
            occurs only in ``test`` is still a candidate (a cold one).
        train, validation, test: Row numbers of ``interactions``; disjoint, together all rows.
        leave_one_out: Row numbers, a subset of ``validation``: one row per user, the most recent
            where times are known. Early stopping ranks these.
        seed: The seed the split was drawn with.
    """

    interactions: Interactions
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    leave_one_out: np.ndarray
    seed: int

    def items_by_user(self, *parts: str) -> Ragged:
        """Items of every user in the named parts (``"train"``, ``"validation"``, ``"test"``,
        ``"leave_one_out"``), sorted; no name means all interactions."""
        rows = np.concatenate([getattr(self, p) for p in parts or ("train", "validation", "test")])
        return Ragged.from_pairs(
            torch.from_numpy(self.interactions.user[rows]),
            torch.from_numpy(self.interactions.item[rows]),
            self.interactions.n_users,
        )

    def __repr__(self) -> str:
        parts = ("train", "validation", "test", "leave_one_out")
        sizes = ", ".join(f"{p} {len(getattr(self, p)):,}" for p in parts)
        return f"Split({self.interactions.name!r}, seed {self.seed}: {sizes})"


def split(
    interactions: Interactions, *, ratio: tuple[float, float, float] = (8, 1, 1), seed: int = 0
) -> Split:
    """Split every user's interactions at random in the given ratio.

    A user with ``n`` interactions keeps the first ``round(n · r_1 / Σr)`` of a random order for
    training and the next ones up to ``round(n · (r_1 + r_2) / Σr)`` for validation; the rest are
    test. The first always trains. Very short users thus have no validation or test rows: they
    train, and are not evaluated.

    Args:
        interactions: The data.
        ratio: Parts for train, validation and test; any scale, training positive.
        seed: Seed of the random order; the same seed gives the same split.

    Raises:
        DataError: ``ratio`` is not three non-negative numbers with a positive first.

    Warns:
        DataWarning: Some users have no validation or no test row though the ratio asks for one.

    Example:
        >>> import bayes_recsys as br
        >>> br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions, seed=0)
        Split('synthetic', seed 0: train 310, validation 43, test 37, leave_one_out 20)
    """
    ratio = np.asarray(ratio, dtype=float)
    if ratio.shape != (3,) or (ratio < 0).any() or ratio[0] <= 0 or not np.isfinite(ratio).all():
        raise DataError("ratio must be (train, validation, test), each >= 0 and train > 0")
    order = np.random.default_rng(seed).permutation(len(interactions))
    order = order[np.argsort(interactions.user[order], kind="stable")]
    rank, count = _rank_within_user(interactions.user[order])
    first = np.maximum(1, np.floor(count * ratio[0] / ratio.sum() + 0.5))
    second = np.floor(count * ratio[:2].sum() / ratio.sum() + 0.5)
    second = np.maximum(first, second)
    train, test = order[rank < first], order[rank >= second]
    validation = order[(rank >= first) & (rank < second)]
    result = Split(
        interactions, train, validation, test, _latest_of_user(interactions, validation), seed
    )
    _warn_of_short_users(result, ratio)
    return result


def leave_one_out(interactions: Interactions, *, seed: int = 0) -> Split:
    """Hold out two interactions of every user: one for test, one for validation.

    Where times are known the last one is test and the one before validation; else they are drawn
    at random. A user with two interactions has no validation row, a user with one only trains.

    Note:
        Holding out each user's last event still trains on other users' later events: it is no
        simulation of deployment. Split by a global time for that.
    """
    order = np.random.default_rng(seed).permutation(len(interactions))
    if interactions.timestamp is not None:
        order = order[np.argsort(interactions.timestamp[order], kind="stable")]
    order = order[np.argsort(interactions.user[order], kind="stable")]
    rank, count = _rank_within_user(interactions.user[order])
    from_end = count - 1 - rank
    test = order[(from_end == 0) & (count >= 2)]
    validation = order[(from_end == 1) & (count >= 3)]
    train = np.setdiff1d(order, np.concatenate([test, validation]), assume_unique=True)
    result = Split(interactions, train, validation, test, validation, seed)
    _warn_of_short_users(result, np.ones(3))
    return result


def _rank_within_user(user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each row within its user's run and the run's length; ``user`` is sorted."""
    _, start, count = np.unique(user, return_index=True, return_counts=True)
    return np.arange(len(user)) - np.repeat(start, count), np.repeat(count, count)


def _latest_of_user(interactions: Interactions, rows: np.ndarray) -> np.ndarray:
    """One of the given rows per user: the latest, or the last in their (random) order."""
    if interactions.timestamp is not None:
        rows = rows[np.argsort(interactions.timestamp[rows], kind="stable")]
    _, last = np.unique(interactions.user[rows][::-1], return_index=True)
    return rows[::-1][last]


def _warn_of_short_users(split: Split, ratio: np.ndarray) -> None:
    lacking = []
    for part, share in (("validation", ratio[1]), ("test", ratio[2])):
        have = len(np.unique(split.interactions.user[getattr(split, part)]))
        if share > 0 and have < split.interactions.n_users:
            lacking.append(f"{split.interactions.n_users - have} user(s) for a {part} row")
    if lacking:
        warnings.warn(
            f"{split.interactions.name}: too few interactions of {' and of '.join(lacking)}; they "
            "train, but are left out of figures on that part",
            DataWarning,
            stacklevel=3,
        )
