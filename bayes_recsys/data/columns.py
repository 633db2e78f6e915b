"""Columns of a table as numbers and times, refused by line."""

from __future__ import annotations

from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd

from bayes_recsys.data.interactions import DataError


def check_present(frame: pd.DataFrame, column: str, path: Path) -> None:
    """Refuse a table with an empty field in ``column``, or a line break in one (``DataError``)."""
    values = frame[column]
    gaps = frame.index[values.isna() | (values == "")]
    if len(gaps):
        raise DataError(f"{path}: {frame.index.name} {gaps[0]}: column {column!r} is empty")
    if pd.api.types.is_numeric_dtype(values.dtype):
        return
    several = np.array(["\n" in str(one) for one in values.unique()])
    if several.any():
        line = frame.index[values == values.unique()[several][0]][0]
        raise DataError(
            f"{path}: {frame.index.name} {line}: column {column!r} runs over several lines; is a quote opened that is not "
            "closed?"
        )


def numeric(frame: pd.DataFrame, column: str, path: Path, *, whole: bool = False) -> pd.Series:
    """A column as numbers, ``DataError`` where one is not (or not whole)."""
    numbers = _of_each(frame[column], lambda text: pd.to_numeric(text, errors="coerce"))
    bad = ~np.isfinite(numbers)
    if whole:
        bad |= numbers % 1 != 0
    _refuse(bad, frame, column, path, "a whole number" if whole else "a number")
    return numbers


def times(frame: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """A column of times as numbers: as it is if it has numbers, else of dates, in seconds since 1970 (UTC
    where they name no zone).

    Raises:
        DataError: One is neither.
    """
    given = frame[column]
    if not pd.api.types.is_datetime64_any_dtype(given.dtype):
        numbers = _of_each(given, lambda text: pd.to_numeric(text, errors="coerce"))
        if np.isfinite(numbers).any() or pd.api.types.is_numeric_dtype(given.dtype):
            return numeric(frame, column, path)
    found = _of_each(given, seconds)
    wanted = "a number, or a date such as 2024-05-31 or 2024-05-31T18:30:00"
    _refuse(found.isna(), frame, column, path, wanted)
    return found


def seconds(dates: pd.Series) -> pd.Series:
    """Dates, as text in ISO 8601 or otherwise, in seconds since 1970; NaN where one is none, or a number."""
    if not pd.api.types.is_datetime64_any_dtype(dates.dtype):
        dates = dates.astype(object)
        dates = dates.where([not isinstance(one, Real) for one in dates], None)
    parsed = pd.to_datetime(dates, utc=True, errors="coerce", format="ISO8601")
    return (parsed - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)


def _of_each(values: pd.Series, convert) -> pd.Series:
    """``convert`` applied, once to each category if there are any; as floating-point numbers."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return pd.Series(np.asarray(convert(values), float), values.index, name=values.name)
    of_each = np.append(np.asarray(convert(values.cat.categories.to_series()), float), np.nan)
    return pd.Series(of_each[values.cat.codes], values.index, name=values.name)


def _refuse(bad: pd.Series, frame: pd.DataFrame, column: str, path: Path, wanted: str) -> None:
    if bad.any():
        line = frame.index[bad][0]
        raise DataError(
            f"{path}: {frame.index.name} {line}: column {column!r} must be {wanted}, not "
            f"{frame[column].loc[line]!r}"
        )


def check_no_header(
    frame: pd.DataFrame, ids: tuple[str, str], numbers: list[str], path: Path
) -> None:
    """Refuse a first row that looks like a header, where all columns were named (``DataError``): a number is none
    there but everywhere below."""
    if len(frame) < 2:
        return
    for column in (*ids, *numbers):
        values = frame[column]
        if pd.api.types.is_numeric_dtype(values.dtype):
            continue
        first, rest = values.iloc[0], values.iloc[1:]
        if (
            np.isnan(_number(first))
            and np.isfinite(_of_each(rest, lambda text: pd.to_numeric(text, errors="coerce"))).all()
        ):
            raise DataError(
                f"{path}: line {frame.index[0]} looks like a header: column {column!r} has {first!r} there and "
                "numbers below; leave out columns=, and name the columns with user=, item=, .."
            )


def _number(text: object) -> float:
    return float(pd.to_numeric(pd.Series([text]), errors="coerce").iloc[0])
