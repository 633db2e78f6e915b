"""A file as a table of text whose index is the number of each line, so that errors can name it."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from bayes_recsys.data.columns import check_present, numeric
from bayes_recsys.data.interactions import DataError
from bayes_recsys.data.lines import kind_of, misfit, number_rows, opened, split_lines, undecodable

# What .data, .rating and MovieLens' .dat files hold, which have no header to say so.
POSITIONAL = ("user_id", "item_id", "rating", "timestamp")
# Rows of a large file that are text at a time.
PIECE = 500_000
TIMES = ("timestamp", "Timestamp", "timestamp:float")
SUFFIXES = (".csv", ".tsv", ".inter", ".item", ".dat", ".data", ".rating", ".parquet")
# MovieLens wrote its files without a header before there was UTF-8 everywhere.
OLD, NEW = "latin-1", "utf-8"


def read_table(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    encoding: str | None = None,
    compact: bool = False,
) -> pd.DataFrame:
    """The table with every field as text, missing ones as NaN, indexed by line number.

    Args:
        path: The file; its ending says how it is laid out, but for ``.gz``, which is unpacked.
        columns: Names of all columns of a file without header. By default the first line is the
            header, or, where the kind of file has none, the columns are ``POSITIONAL`` and ids
            must be whole numbers.
        encoding: Of the text; by default UTF-8, and Latin-1 where ``::`` separates.
        compact: Text that repeats itself as categories of text, and times as numbers if all are: a fifth of
            the time and memory.

    Raises:
        DataError: The file is missing, empty, of unknown kind or malformed.
    """
    kind = kind_of(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if kind not in SUFFIXES:
        raise DataError(
            f"{path}: unknown kind of file; expected one of {', '.join(SUFFIXES)} (text may be packed as .gz)"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    if columns is not None and kind in (".inter", ".item", ".parquet"):
        raise DataError(f"{path}: columns= names what a header does not, but {kind} files have one")
    if kind == ".parquet":
        return _read_parquet(path)
    colons = kind == ".dat" and _separator(path) == "::"
    names = columns
    if columns is None and (colons or kind in (".data", ".rating")):
        names = POSITIONAL
    if colons:
        frame = split_lines(path, "::", len(names), encoding or OLD).set_axis(list(names), axis=1)
    else:
        frame = _read_separated(path, names, encoding or NEW, compact)
    if columns is None and names:
        _check_positional(frame, path)
    if kind in (".inter", ".item"):
        untyped = [c for c in frame.columns if ":" not in c]
        if untyped:
            raise DataError(
                f"{path}: line 1: column {untyped[0]!r} has no type; the header must read like "
                "user_id:token"
            )
        frame.columns = [c.split(":")[0] for c in frame.columns]
    return frame


def _check_positional(frame: pd.DataFrame, path: Path) -> None:
    """Refuse what is not laid out as ``POSITIONAL``."""
    if frame[POSITIONAL[-1]].isna().all():
        raise DataError(
            f"{path}: line {frame.index[0]}: fewer fields than {', '.join(POSITIONAL)}; name those "
            "it has with columns="
        )
    for column in ("user_id", "item_id"):
        check_present(frame, column, path)
        numeric(frame, column, path, whole=True)


def _read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file with its types, its rows numbered from 1."""
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise DataError(f"{path}: Parquet is read by pyarrow; pip install pyarrow") from None
    except (ValueError, OSError) as error:  # pyarrow's own are of these
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
    if frame.empty:
        raise DataError(f"{path}: the file has no rows")
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="row"))


def _separator(path: Path) -> str:
    """What separates a ``.dat`` file: MovieLens has ``::`` and no header, HetRec tabs and one."""
    with opened(path, OLD) as lines:
        number, line = next(((n, s) for n, s in enumerate(lines, start=1) if s.strip()), (1, ""))
    separator = next((s for s in ("::", "\t") if s in line), None)
    if separator is None:
        raise DataError(
            f"{path}: line {number}: neither fields separated by '::' (MovieLens) nor a header "
            "separated by tabs (HetRec); for a table separated by commas call the file .csv"
        )
    return separator


def _read_separated(
    path: Path, names: Sequence[str] | None, encoding: str, compact: bool
) -> pd.DataFrame:
    """A file separated by commas (``.csv``) or tabs, with a header unless names are given."""
    kind = kind_of(path)
    separator = "," if kind == ".csv" else "\t"
    read = partial(
        pd.read_csv,
        path,
        sep=separator,
        header=None if names else "infer",
        names=names,
        encoding=encoding,
        keep_default_na=False,
        na_values=["", "nan", "NaN"],
        skip_blank_lines=False,
        index_col=False,
        # Quotes in HetRec's files are part of a name.
        quoting=csv.QUOTE_NONE if kind == ".dat" else csv.QUOTE_MINIMAL,
    )
    wanted = f" of {', '.join(names)} (columns= names all that a file has)" if names else ""
    try:
        with opened(path, encoding) as file:  # an unknown encoding, a damaged archive
            file.read(1)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = _compact(read) if compact else read(dtype=str)
    except UnicodeError:
        raise undecodable(path, encoding) from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: a damaged .gz file: {error}") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: not a readable table{wanted}: {error}") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        why = misfit(path, separator, encoding, len(names) if names else None)
        raise DataError(f"{path}: not a readable table{wanted}: {why}") from error
    header = 0 if names else 1 + sum(str(column).count("\n") for column in frame)
    frame = number_rows(frame, 1 + header, separator, path)
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
