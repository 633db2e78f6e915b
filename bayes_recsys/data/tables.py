"""A file as a table of text whose index is the number of each line, so that errors can name it."""

from __future__ import annotations

import csv
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from bayes_recsys.data.interactions import DataError

# What .data, .rating and MovieLens' .dat files hold, which have no header to say so.
POSITIONAL = ("user_id", "item_id", "rating", "timestamp")
# Rows of a large file that are text at a time.
PIECE = 500_000
TIMES = ("timestamp", "Timestamp", "timestamp:float")
SUFFIXES = (".csv", ".tsv", ".inter", ".item", ".dat", ".data", ".rating")


def read_table(
    path: Path, columns: Sequence[str] | None = None, *, compact: bool = False
) -> pd.DataFrame:
    """The table with every field as text, missing ones as NaN, indexed by line number.

    Args:
        path: The file; its ending says how it is laid out.
        columns: Names of all columns of a file without header. By default the first line is the
            header, or, where the kind of file has none, the columns are ``POSITIONAL`` and ids
            must be whole numbers.
        compact: Text that repeats itself as categories of text, and times as numbers if all are: a fifth of
            the time and memory.

    Raises:
        DataError: The file is missing, empty, of unknown kind or malformed.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if kind not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    if columns is not None and kind in (".inter", ".item"):
        raise DataError(f"{path}: columns= names what a header does not, but {kind} files have one")
    colons = kind == ".dat" and _separator(path) == "::"
    names = columns
    if columns is None and (colons or kind in (".data", ".rating")):
        names = POSITIONAL
    if colons:
        frame = split_lines(path, "::", len(names)).set_axis(list(names), axis=1)
    else:
        frame = _read_separated(path, names, compact)
    if columns is None and names:
        if frame[names[-1]].isna().all():
            raise DataError(
                f"{path}: line {frame.index[0]}: fewer fields than {', '.join(names)}; name those "
                "it has with columns="
            )
        for column in ("user_id", "item_id"):
            check_present(frame, column, path)
            numeric(frame, column, path, whole=True)
    if kind in (".inter", ".item"):
        untyped = [c for c in frame.columns if ":" not in c]
        if untyped:
            raise DataError(
                f"{path}: line 1: column {untyped[0]!r} has no type; the header must read like "
                "user_id:token"
            )
        frame.columns = [c.split(":")[0] for c in frame.columns]
    return frame


def _separator(path: Path) -> str:
    """What separates a ``.dat`` file: MovieLens has ``::`` and no header, HetRec tabs and one."""
    with path.open(encoding="latin-1") as lines:
        number, line = next(((n, s) for n, s in enumerate(lines, start=1) if s.strip()), (1, ""))
    separator = next((s for s in ("::", "\t") if s in line), None)
    if separator is None:
        raise DataError(
            f"{path}: line {number}: neither fields separated by '::' (MovieLens) nor a header "
            "separated by tabs (HetRec); for a table separated by commas call the file .csv"
        )
    return separator


def _read_separated(path: Path, names: Sequence[str] | None, compact: bool) -> pd.DataFrame:
    """A file separated by commas (``.csv``) or tabs, with a header unless names are given."""
    kind = path.suffix.lower()
    read = partial(
        pd.read_csv,
        path,
        sep="," if kind == ".csv" else "\t",
        header=None if names else "infer",
        names=names,
        keep_default_na=False,
        na_values=["", "nan", "NaN"],
        skip_blank_lines=False,
        index_col=False,
        # Quotes in HetRec's files are part of a name.
        quoting=csv.QUOTE_NONE if kind == ".dat" else csv.QUOTE_MINIMAL,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = _compact(read) if compact else read(dtype=str)
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
    ) as error:
        wanted = f" of {', '.join(names)} (columns= names all that a file has)" if names else ""
        raise DataError(f"{path}: not a readable table{wanted}: {str(error).strip()}") from error
    frame.index += 1 if names else 2
    gone = frame.isna().all(axis=1)
    frame = frame[~gone] if gone.any() else frame
    if frame.empty and names:
        raise DataError(f"{path}: the file has no rows")
    if frame.empty:
        raise DataError(
            f"{path}: the file has a header but no rows (if line 1 is no header, name the columns "
            "with columns=)"
        )
    return frame


def _compact(read: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """A piece at a time. (Asked for categories, pandas would make numbers of ``007``.)"""
    texts: defaultdict[str, type] = defaultdict(lambda: str)
    try:
        pieces = _pieces(read, defaultdict(texts.default_factory, dict.fromkeys(TIMES, np.float64)))
    except (pd.errors.ParserError, UnicodeDecodeError):
        raise
    except ValueError:  # some time is no number: as text it can be shown
        pieces = _pieces(read, texts)
    if len(pieces) < 2:
        return pieces[0] if pieces else read(dtype=str)
    first = pieces[0]
    return pd.DataFrame(
        {
            column: union_categoricals([piece[column] for piece in pieces])
            if isinstance(first[column].dtype, pd.CategoricalDtype)
            else np.concatenate([piece[column] for piece in pieces])
            for column in first
        }
    )


def _pieces(read: Callable[..., pd.DataFrame], dtype: defaultdict) -> list[pd.DataFrame]:
    with read(dtype=dtype, chunksize=PIECE) as pieces:
        return [
            piece.apply(
                lambda column: column if column.dtype == float else column.astype("category")
            )
            for piece in pieces
        ]


def split_lines(path: Path, separator: str, width: int) -> pd.DataFrame:
    """The first ``width`` columns of a file whose separator pandas' fast parser cannot take,
    indexed by line number. The bytes are Latin-1, as MovieLens has them."""
    rows = {}
    with path.open(encoding="latin-1") as lines:
        for number, line in enumerate(lines, start=1):
            # A byte order mark, as Latin-1 reads it.
            fields = line.removeprefix("ï»¿").rstrip("\r\n").split(separator)
            if not line.strip():
                continue
            if len(fields) < width:
                raise DataError(
                    f"{path}: line {number}: expected at least {width} fields separated by "
                    f"{separator!r}, found {len(fields)}"
                )
            rows[number] = fields[:width]
    if not rows:
        raise DataError(f"{path}: the file has no rows")
    return pd.DataFrame.from_dict(rows, orient="index")


def check_present(frame: pd.DataFrame, column: str, path: Path) -> None:
    """Refuse a table with an empty field in ``column`` (``DataError``)."""
    gaps = frame.index[frame[column].isna() | (frame[column] == "")]
    if len(gaps):
        raise DataError(f"{path}: line {gaps[0]}: column {column!r} is empty")


def numeric(frame: pd.DataFrame, column: str, path: Path, *, whole: bool = False) -> pd.Series:
    """A column as numbers, ``DataError`` where one is not (or not whole)."""
    numbers = frame[column]
    if isinstance(numbers.dtype, pd.CategoricalDtype):
        of_each = pd.to_numeric(numbers.cat.categories, errors="coerce").to_numpy(float)
        found = np.append(of_each, np.nan)[numbers.cat.codes]
        numbers = pd.Series(found, index=numbers.index, name=column)
    else:
        numbers = pd.to_numeric(numbers, errors="coerce").astype(float)
    bad = ~np.isfinite(numbers)
    if whole:
        bad |= numbers % 1 != 0
    if bad.any():
        line = frame.index[bad][0]
        kind = "a whole number" if whole else "a number"
        raise DataError(
            f"{path}: line {line}: column {column!r} must be {kind}, "
            f"not {frame[column].loc[line]!r}"
        )
    return numbers
