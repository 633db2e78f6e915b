"""Ratings as integer codes with the vocabularies of the original ids."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd


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


def from_frame(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    timestamp: str | None = None,
    titles: pd.Series | None = None,
    name: str = "interactions",
) -> Interactions:
    """Interactions from a table with one row per event.

    Ids may be numbers or text; they are kept as text (``42`` and ``"42"`` are the same user, and
    so is ``42.0``, which is what pandas makes of ``42`` in a column with gaps).
    Codes follow numeric order where every id is a whole number, text order otherwise.

    Args:
        frame: Any table; other columns are ignored. Every row counts as a positive: filter by
            rating first if low ratings should not.
        user, item: Names of the id columns.
        timestamp: Name of the time column, or ``None``.
        titles: Item titles indexed by item id.
        name: What to call the data set in reports.

    Raises:
        DataError: A column is missing or named twice, the table is empty, or an id or time is missing.

    Warns:
        DataWarning: A (user, item) pair occurs more than once. The last one (by time, else by
            row) is kept.

    Example:
        >>> import pandas as pd
        >>> from_frame(pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"]}), name="tiny")
        Interactions('tiny': 3 interactions, 2 users, 2 items, density 75.00%)
    """
    columns = [user, item] + ([timestamp] if timestamp else [])
    if len(set(columns)) < len(columns):
        raise DataError(
            f"{name}: user=, item= and timestamp= must name different columns: {columns}"
        )
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise DataError(
            f"{name}: no column {', '.join(map(repr, missing))}; the table has "
            f"{', '.join(map(repr, map(str, frame.columns)))}. Name the columns with user=, item=, timestamp=."
        )
    if frame.empty:
        raise DataError(f"{name}: the table has no rows")
    for column in columns:
        gaps = np.flatnonzero(frame[column].isna().to_numpy())
        if len(gaps):
            raise DataError(
                f"{name}: column {column!r} has {len(gaps)} missing value(s), the first in row "
                f"{gaps[0] + 1} of the data; drop or fill these rows"
            )
    if timestamp and not pd.api.types.is_numeric_dtype(frame[timestamp]):
        raise DataError(
            f"{name}: column {timestamp!r} must be numeric (for dates use "
            "pd.to_datetime(..).astype('int64'))"
        )

    frame = frame[columns]
    if timestamp:
        frame = frame.sort_values(timestamp, kind="stable")
    user_code, user_ids = _encode(frame[user])
    item_code, item_ids = _encode(frame[item])
    pair = user_code * len(item_ids) + item_code
    repeated = np.zeros(len(pair), dtype=bool)
    if (np.diff(np.sort(pair)) == 0).any():  # a sort is faster than the search for those before
        repeated = pd.Series(pair).duplicated(keep="last").to_numpy()
        warnings.warn(
            f"{name}: {repeated.sum()} repeated (user, item) pair(s); the last of each is kept",
            DataWarning,
            stacklevel=2,
        )
    if titles is not None:
        titles = titles.set_axis(_as_text(titles.index))
        titles = titles[~titles.index.duplicated()].reindex(item_ids)
        titles = titles.astype(object).where(titles.notna(), "").to_numpy(dtype=str)
    return Interactions(
        user=user_code[~repeated],
        item=item_code[~repeated],
        user_ids=user_ids,
        item_ids=item_ids,
        timestamp=frame[timestamp].to_numpy()[~repeated] if timestamp else None,
        titles=titles,
        name=name,
    )


def last_of_each(
    frame: pd.DataFrame, user: str, item: str, timestamp: str | None, name: str
) -> pd.DataFrame:
    """The last row of each (user, item) pair, by time, else by row, in the order of the rows.

    Warns:
        DataWarning: A pair occurs more than once.
    """
    ordered = frame.sort_values(timestamp, kind="stable") if timestamp else frame
    repeated = ordered.duplicated([user, item], keep="last")
    if not repeated.any():
        return frame
    warnings.warn(
        f"{name}: {repeated.sum()} repeated (user, item) pair(s); the last of each is kept",
        DataWarning,
        stacklevel=3,
    )
    return frame.loc[~repeated.reindex(frame.index)]


def _encode(ids: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes ``[n]`` and the vocabulary of ids as text ``[V]``, in numeric order if all are whole
    numbers and in text order otherwise."""
    codes, unique = pd.factorize(ids)
    text = _as_text(unique)
    vocabulary = np.unique(text)
    if all(one.isascii() and one.isdigit() for one in vocabulary):
        vocabulary = vocabulary[np.argsort(vocabulary.astype(np.float64), kind="stable")]
    return pd.Index(vocabulary).get_indexer(text)[codes].astype(np.int64), vocabulary


def _as_text(ids) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.dtype.kind == "f" and (ids % 1 == 0).all() and (abs(ids) < 2**53).all():
        ids = ids.astype(np.int64)
    return ids.astype(str)
