"""The lines of a text file: how they are opened, counted, and named in errors."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from bayes_recsys.data.interactions import DataError


def kind_of(path: Path) -> str:
    """The ending that says how a file is laid out, ``".csv"`` of ``ratings.csv.gz`` too."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def stem(path: Path) -> str:
    """A file's name without its endings."""
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


@contextmanager
def opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    """A text file, unpacked if it is ``.gz``.

    Raises:
        DataError: It is damaged, not in this encoding (the message names line and byte), or there is no such
            encoding.
    """
    try:
        unpack = gzip.open if path.suffix.lower() == ".gz" else open
        with unpack(path, "rt", encoding=encoding, newline="") as file:
            yield file
    except UnicodeError:
        raise undecodable(path, encoding) from None
    except LookupError as error:
        raise DataError(f"{path}: {error} (encoding={encoding!r})") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: a damaged .gz file: {error}") from error


def undecodable(path: Path, encoding: str) -> DataError:
    """The error that names the first line that is not in this encoding."""
    unpack = gzip.open if path.suffix.lower() == ".gz" else open
    with unpack(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                return DataError(f"{path}: the file is UTF-16; read it with encoding='utf-16'")
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return DataError(
                    f"{path}: line {number}: byte 0x{byte:02x} at {error.start + 1} is not {encoding}; name the "
                    "file's with encoding=, such as encoding='latin-1'"
                )
            except UnicodeError:
                break
    return DataError(f"{path}: not {encoding}; name the file's with encoding=")


def split_lines(path: Path, separator: str, width: int, encoding: str) -> pd.DataFrame:
    """The first ``width`` columns of a file whose separator pandas' fast parser cannot take,
    indexed by line number."""
    rows = {}
    with opened(path, encoding) as lines:
        for number, line in enumerate(lines, start=1):
            # A byte order mark, as Unicode and as Latin-1 reads it.
            line = line.removeprefix("\ufeff").removeprefix("ï»¿").rstrip("\r\n")
            if not line.strip():
                continue
            fields = line.split(separator)
            if len(fields) < width:
                raise DataError(
                    f"{path}: line {number}: expected at least {width} fields separated by "
                    f"{separator!r}, found {len(fields)}"
                )
            rows[number] = fields[:width]
    if not rows:
        raise DataError(f"{path}: the file has no rows")
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("line")


def number_rows(frame: pd.DataFrame, first: int, separator: str, path: Path) -> pd.DataFrame:
    """Index rows by the line each starts on, the first by ``first``: a quoted field may hold line breaks.

    Raises:
        DataError: What stands between two quotes looks like rows: a quote too much has swallowed them.
    """
    breaks = np.zeros(len(frame), dtype=np.int64)
    for column in frame:
        text = frame[column]
        if isinstance(text.dtype, pd.CategoricalDtype):
            several = ["\n" in str(one) for one in text.cat.categories]
            broken = np.append(np.array(several, bool), False)
            broken = broken[text.cat.codes]
        elif pd.api.types.is_numeric_dtype(text.dtype):
            continue
        else:
            broken = text.str.contains("\n", regex=False).fillna(False).to_numpy(bool)
        if broken.any():
            breaks[broken] += text[broken].astype(str).str.count("\n").to_numpy(np.int64)
    starts = first + np.arange(len(frame)) + breaks.cumsum() - breaks
    frame.index = pd.Index(starts, name="line")
    for line in starts[breaks > 0]:
        fields = frame.loc[line]
        for field in fields[fields.astype(str).str.contains("\n")]:
            if _holds_rows(field, separator, len(fields)):
                n = field.count("\n")
                raise DataError(
                    f"{path}: line {line}: a quote opens that closes {n} line(s) later, and what is between looks like "
                    "rows; remove the quote or double it"
                )
    return frame


def _holds_rows(field: str, separator: str, width: int) -> bool:
    """Whether a line of a field has as many separators as a row, or starts with a number and one."""
    for line in field.split("\n")[1:]:
        start, *rest = line.split(separator)
        if rest and (len(rest) >= width - 1 or start.strip().isdigit()):
            return True
    return False


def misfit(path: Path, separator: str, encoding: str, width: int | None) -> str:
    """What is wrong with a table that pandas refused: its first row with too many fields, or its last row,
    whose quote is never closed.

    Args:
        path: The file.
        separator: What separates its fields, which may be quoted.
        encoding: Its encoding.
        width: How many fields a row has; ``None`` for as many as the first.
    """
    start, line = 0, 1
    with opened(path, encoding) as file:
        reader = csv.reader(file, delimiter=separator)
        try:
            for fields in reader:
                start, line = line, reader.line_num + 1
                width = width or len(fields)
                if len(fields) > width:
                    return f"line {start}: {len(fields)} fields, where there should be {width}"
        except csv.Error as error:
            return f"line {line}: {error}"
    return f"line {start}: a quote opens that is never closed"
