"""Interactions from a DataFrame."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayes_recsys.data.columns import seconds
from bayes_recsys.data.interactions import DataError, DataWarning, Interactions


def from_frame(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    timestamp: str | None = None,
    titles: pd.Series | str | None = None,
    name: str = "interactions",
) -> Interactions:
    """Interactions from a table with one row per event.

    Ids may be numbers or text; they are kept as text. A number that is whole is written as one: ``42``,
    ``42.0`` (which is what pandas makes of ``42`` in a column with gaps) and ``"42"`` are the same user,
    also within one column. Text stays as it is: ``"42.0"`` and ``"042"`` are others.
    Codes follow numeric order where every id is a whole number, text order otherwise.

    Args:
        frame: Any table, of pandas or polars; other columns are ignored. Every row counts as a positive:
            filter by rating first if low ratings should not.
        user, item: Names of the id columns.
        timestamp: Name of the time column, numbers or dates (which become seconds since 1970, UTC
            where they name no zone), or ``None``.
        titles: Item titles indexed by item id, or the name of a column.
        name: What to call the data set in reports.

    Raises:
        DataError: A column is missing or named twice, the table is empty, an id or time is missing or none, or
            ``titles`` has no title for any item.

    Warns:
        DataWarning: A (user, item) pair occurs more than once. The last one (by time, else by
            row) is kept.

    Example:
        >>> import pandas as pd
        >>> from_frame(pd.DataFrame({"user": [7, 7, 9], "item": ["a", "b", "a"]}), name="tiny")
        Interactions('tiny': 3 interactions, 2 users, 2 items, density 75.00%)
    """
    columns = [user, item] + ([timestamp] if timestamp else [])
    frame = take_columns(frame, columns, titles, name)
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
    if isinstance(titles, str):
        titled = frame[frame[titles].notna() & (frame[titles] != "")]
        last = titled.drop_duplicates(item, keep="last")
        titles = pd.Series(last[titles].to_numpy(), index=last[item])
    return Interactions(
        user=user_code[~repeated],
        item=item_code[~repeated],
        user_ids=user_ids,
        item_ids=item_ids,
        timestamp=frame[timestamp].to_numpy()[~repeated] if timestamp else None,
        titles=None if titles is None else _titles(titles, item_ids, name),
        name=name,
    )


def _titles(titles: pd.Series, item_ids: np.ndarray, name: str) -> np.ndarray:
    """Titles of these items, ``""`` where there is none, shape ``[N]``."""
    titles = titles.set_axis(_as_text(titles.index))
    titles = titles[~titles.index.duplicated()].reindex(item_ids)
    if titles.isna().all():
        raise DataError(
            f"{name}: titles has no title for any item; index it by item id, or name a column of the table "
            "(titles='title')"
        )
    return titles.astype(object).where(titles.notna(), "").to_numpy(dtype=str)


def take_columns(
    frame: pd.DataFrame, columns: Sequence[str], titles: pd.Series | str | None, name: str
) -> pd.DataFrame:
    """These columns (user, item, perhaps time) of a table of pandas or polars, and the one of titles if it is named,
    as they may be used: times are finite numbers, ids are there.

    Raises:
        DataError: They may not be.
    """
    if len(set(columns)) < len(columns):
        raise DataError(
            f"{name}: user=, item= and timestamp= must name different columns: {columns}"
        )
    wanted = [*columns, *([titles] if isinstance(titles, str) else [])]
    _check_names(frame, wanted, name)
    if not isinstance(frame, pd.DataFrame):
        frame = pd.DataFrame({column: frame[column].to_numpy() for column in wanted})
    frame = frame[list(dict.fromkeys(wanted))]
    if frame.empty:
        raise DataError(f"{name}: the table has no rows")
    for column in columns:
        gaps = np.flatnonzero(_is_missing(frame[column]))
        if len(gaps):
            raise DataError(
                f"{name}: column {column!r} has {len(gaps)} missing or infinite value(s), the first in row "
                f"{gaps[0] + 1} of the data; drop or fill these rows"
            )
    for time in columns[2:]:
        frame = frame.assign(**{time: _times(frame[time], name)})
    if isinstance(titles, pd.Series):
        _check_index(titles, frame, columns[1], name)
    return frame


def _check_index(titles: pd.Series, frame: pd.DataFrame, item: str, name: str) -> None:
    """Refuse titles that have the table's rows for their index (``DataError``)."""
    of_rows = titles.index.equals(frame.index)
    if of_rows and not np.array_equal(_as_text(titles.index), _as_text(frame[item])):
        raise DataError(
            f"{name}: titles has the rows of the table for its index, not items; name the column "
            f"instead: titles={str(titles.name or 'title')!r}"
        )


def _check_names(frame: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    have = list(getattr(frame, "columns", ()))
    if not have and not isinstance(frame, pd.DataFrame):
        raise DataError(f"{name}: a DataFrame is needed, not {type(frame).__name__}")
    missing = [c for c in columns if c not in have]
    if missing:
        raise DataError(
            f"{name}: no column {', '.join(map(repr, missing))}; the table has "
            f"{', '.join(map(repr, map(str, have)))}. Name the columns with user=, item=, timestamp=."
        )
    twice = [c for c in columns if have.count(c) > 1]
    if twice:
        raise DataError(f"{name}: the table has several columns {twice[0]!r}")


def _is_missing(values: pd.Series) -> np.ndarray:
    """Which ids or times ``[n]`` are missing, empty text or infinite."""
    missing = values.isna().to_numpy()
    if pd.api.types.is_float_dtype(values.dtype):
        return missing | np.isinf(values.to_numpy(float, na_value=np.nan))
    if pd.api.types.is_object_dtype(values.dtype) or pd.api.types.is_string_dtype(values.dtype):
        try:
            return missing | values.isin(["", np.inf, -np.inf]).to_numpy()
        except TypeError:  # what has no hash is no id either, which _encode says
            return missing
    return missing


def _times(values: pd.Series, name: str) -> pd.Series:
    """Times as numbers; dates become seconds since 1970."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values
    found = seconds(values)
    if pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values):
        numbers = pd.to_numeric(values, errors="coerce").astype(float)
        found = numbers if np.isfinite(numbers).any() else found
    bad = np.flatnonzero(found.isna())
    if len(bad):
        raise DataError(
            f"{name}: column {values.name!r} must have numbers, or dates such as 2024-05-31; row "
            f"{bad[0] + 1} of the data has {values.iloc[bad[0]]!r}"
        )
    return found


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
    try:
        codes, unique = pd.factorize(ids)
    except TypeError:
        raise DataError(f"column {ids.name!r}: ids must be numbers or text") from None
    text = _as_text(unique)
    vocabulary = np.unique(text)
    if all(one.isascii() and one.isdigit() for one in vocabulary):
        vocabulary = vocabulary[np.argsort(vocabulary.astype(np.float64), kind="stable")]
    return pd.Index(vocabulary).get_indexer(text)[codes].astype(np.int64), vocabulary


def _as_text(ids) -> np.ndarray:
    """Ids as text, whole numbers as such whatever their type."""
    ids = np.asarray(ids)
    if ids.dtype.kind == "f" and (ids % 1 == 0).all() and (abs(ids) < 2**53).all():
        ids = ids.astype(np.int64)
    elif ids.dtype.kind in "fO":
        ids = np.array([str(int(one)) if _is_whole(one) else str(one) for one in ids], dtype=object)
    return ids.astype(str)


def _is_whole(one: object) -> bool:
    return isinstance(one, (float, np.floating)) and float(one).is_integer() and abs(one) < 2**53
