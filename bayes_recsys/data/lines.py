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
    breaks, swallowed = np.zeros(len(frame), dtype=np.int64), np.zeros(len(frame), dtype=bool)
    numbers: list[bool] | None = None
    for column in frame:
        text = frame[column]
        if pd.api.types.is_numeric_dtype(text.dtype):
            continue
        code, fields = pd.factorize(text)  # -1 where there is none
        several = [str(field).count("\n") for field in fields]
        if any(several):
            if numbers is None:
                numbers = [_has_numbers(frame[one]) for one in frame]
            holds = [
                n > 0 and _holds_rows(f, separator, numbers)
                for f, n in zip(fields, several, strict=True)
            ]
            breaks += np.append(several, 0)[code]
            swallowed |= np.append(holds, False)[code]
    starts = first + np.arange(len(frame)) + breaks.cumsum() - breaks
    if swallowed.any():
        row = swallowed.argmax()
        raise DataError(
            f"{path}: line {starts[row]}: a quote opens that closes {breaks[row]} line(s) later, and what is between looks "
            "like rows; remove the quote or double it"
        )
    frame.index = pd.Index(starts, name="line")
    return frame


def _has_numbers(values: pd.Series) -> bool:
    """Whether nearly all values of a column are numbers."""
    found = pd.to_numeric(pd.Series(values.unique()).dropna().astype(str), errors="coerce")
    return len(found) > 0 and found.notna().mean() > 0.5


def _holds_rows(field: str, separator: str, numbers: list[bool]) -> bool:
    """Whether a line within a field reads like a row, with numbers where columns have numbers; the last line, which the
    closing quote may have cut, like the start of one, with two of them."""
    *whole, last = (line.split(separator) for line in field.split("\n")[1:])
    for parts in whole:
        if len(parts) == len(numbers) and all(_fits(parts, numbers)):
            return True
    start = list(_fits(last[:-1], numbers))
    return len(last) <= len(numbers) and sum(numbers[: len(start)]) >= 2 and all(start)


def _fits(parts: list[str], numbers: list[bool]) -> Iterator[bool]:
    """For each of these fields, whether it may stand in its column."""
    for part, is_number in zip(parts, numbers, strict=False):
        yield not is_number or part.strip().replace(".", "", 1).isdigit()


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
