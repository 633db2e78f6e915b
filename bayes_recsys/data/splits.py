"""Which interactions train, validate and test."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.data.interactions import DataError, DataWarning, Interactions
from bayes_recsys.data.ragged import Ragged

PARTS = ("train", "validation", "test")

# What is split.
DATA = "data.Interactions (of data.read_ratings, data.from_frame or data.load)"


@dataclass(frozen=True)
class Split:
    """Which interactions train, validate and test.

    Every user of a later part has a row in training: no model here can rank for another.

    Args:
        interactions: All of them. Codes cover every item of every part, so that an item that
            occurs only in ``test`` is still a candidate (a cold one).
        train, validation, test: Row numbers of ``interactions``; disjoint. Together they are all
            rows, except those that :func:`timeline` leaves out and those that a file of
            :func:`~bayes_recsys.data.saved_split.load_split` does not name. Such rows neither
            train nor are ranked for, but they are known: never recommended again.
        leave_one_out: Row numbers, a subset of ``validation``: one row per user, the most recent
            where times are known. The papers' monitor ranks these, the default all of ``validation``.
        seed: The seed the split was drawn with; ``None`` where nothing was drawn.
    """

    interactions: Interactions
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    leave_one_out: np.ndarray
    seed: int | None

    def items_by_user(self, *parts: str) -> Ragged:
        """Items of every user in the named parts (``"train"``, ``"validation"``, ``"test"``,
        ``"leave_one_out"``), sorted; no name means all interactions, those in no part too."""
        if parts not in self._by_user:
            rows = np.concatenate([getattr(self, p) for p in parts]) if parts else slice(None)
            self._by_user[parts] = Ragged.from_pairs(
                torch.from_numpy(self.interactions.user[rows]),
                torch.from_numpy(self.interactions.item[rows]),
                self.interactions.n_users,
            )
        return self._by_user[parts]

    @cached_property
    def _by_user(self) -> dict[tuple[str, ...], Ragged]:
        """What was asked for once: sorting millions of rows takes seconds."""
        return {}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{p} {len(getattr(self, p)):,}" for p in (*PARTS, "leave_one_out"))
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"Split({self.interactions.name!r}{seed}: {sizes})"


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
        Split('synthetic', seed 0: train 320, validation 40, test 40, leave_one_out 20)
    """
    check_kind(interactions, Interactions, DATA)
    ratio = _checked(ratio)
    check_whole("seed", seed, least=0)
    # No stream: nothing else draws from the bare seed, and a seed's split is published.
    order = np.random.default_rng(seed).permutation(len(interactions))
    order = order[torch.from_numpy(interactions.user[order]).argsort(stable=True).numpy()]
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
        simulation of deployment. :func:`timeline` is.
    """
    check_kind(interactions, Interactions, DATA)
    check_whole("seed", seed, least=0)
    # No stream: nothing else draws from the bare seed, and a seed's split is published.
    order = np.random.default_rng(seed).permutation(len(interactions))
    if interactions.timestamp is not None:
        order = order[np.argsort(interactions.timestamp[order], kind="stable")]
    order = order[torch.from_numpy(interactions.user[order]).argsort(stable=True).numpy()]
    rank, count = _rank_within_user(interactions.user[order])
    from_end = count - 1 - rank
    test = order[(from_end == 0) & (count >= 2)]
    validation = order[(from_end == 1) & (count >= 3)]
    train = np.setdiff1d(order, np.concatenate([test, validation]), assume_unique=True)
    result = Split(interactions, train, validation, test, validation, seed)
    _warn_of_short_users(result, np.ones(3))
    return result


def timeline(interactions: Interactions, *, ratio: tuple[float, float, float] = (8, 1, 1)) -> Split:
    """Split at two points in time, the same for all users: what came first trains, what came next
    validates, what came last is test. Nothing is trained on that lies in the future of a test row.

    The cuts are where the shares come nearest to the ratio; events of the same time are never
    separated. Users who come after the first cut have nothing to train on, so that no model here
    can rank for them: their rows are left out of the split. An item that comes after the cut
    stays in the vocabulary (it is cold). A user who is gone by then trains, and is not evaluated.
    A user's leave-one-out item is the latest of the validation part.

    Args:
        interactions: The data, with times.
        ratio: Shares of all interactions for train, validation and test; any scale, training
            positive.

    Raises:
        DataError: The data has no times, ``ratio`` is not three non-negative numbers with a
            positive first, or a part that it asks for is empty.

    Warns:
        DataWarning: Users without a training row were left out.

    Example:
        >>> import bayes_recsys as br
        >>> timeline(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        Split('synthetic': train 317, validation 40, test 43, leave_one_out 11)
    """
    check_kind(interactions, Interactions, DATA)
    ratio, name = _checked(ratio), interactions.name
    if interactions.timestamp is None:
        raise DataError(
            f"{name}: a timeline needs times, and the data has none; read a column 'timestamp' "
            "(from_frame(.., timestamp=..)), or use split or leave_one_out"
        )
    order = np.argsort(interactions.timestamp, kind="stable")
    # Rows before each moment at which time moves on, the only places to cut.
    ends = np.flatnonzero(np.diff(interactions.timestamp[order])) + 1
    ends = np.concatenate([[0], ends, [len(order)]])
    wanted = len(order) * ratio.cumsum()[:2] / ratio.sum()
    first, second = (ends[np.abs(ends - number).argmin()] for number in wanted)
    train, later = order[:first], order[first:]
    trains = np.isin(interactions.user, interactions.user[train])
    validation, test = (rows[trains[rows]] for rows in (order[first:second], order[second:]))
    for part, rows, share in zip(PARTS, (train, validation, test), ratio, strict=True):
        if share > 0 and not len(rows):
            raise DataError(
                f"{name}: the {part} part is empty: too few different times, or no user who was "
                "there before; give it another share of ratio, or use split or leave_one_out"
            )
    new = later[~trains[later]]
    if len(new):
        warnings.warn(
            f"{name}: {len(np.unique(interactions.user[new]))} user(s) come after the training "
            f"part; their {len(new)} row(s) are left out of the split",
            DataWarning,
            stacklevel=2,
        )
    return Split(
        interactions, train, validation, test, _latest_of_user(interactions, validation), None
    )


def _checked(ratio: tuple[float, float, float]) -> np.ndarray:
    try:
        ratio = np.asarray(ratio, dtype=float)
    except (TypeError, ValueError):
        ratio = np.array([])
    if ratio.shape != (3,) or (ratio < 0).any() or ratio[0] <= 0 or not np.isfinite(ratio).all():
        raise DataError("ratio must be (train, validation, test), each >= 0 and train > 0")
    return ratio


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
