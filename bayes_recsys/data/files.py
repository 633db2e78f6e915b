"""Interactions from files: CSV, TSV, MovieLens ``::`` and ``.inter``."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from bayes_recsys.data.interactions import DataError, Interactions, from_frame

# Header names understood without being told, the first that is present wins.
USER_NAMES = ("user_id", "userId", "user", "userid", "UserID")
ITEM_NAMES = ("item_id", "itemId", "item", "movie_id", "movieId", "itemid", "MovieID")
TIMESTAMP_NAMES = ("timestamp", "Timestamp")
TITLE_NAMES = ("title", "movie_title", "name")

_MOVIELENS_COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
_SUFFIXES = (".csv", ".tsv", ".inter", ".item", ".dat", ".data")
_RATING_FILES = ("ratings.csv", "ratings.dat", "u.data")


def read_ratings(
    path: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    min_rating: float | None = None,
    name: str | None = None,
) -> Interactions:
    """Read a ratings file, or a folder as MovieLens ships it.

    ===============  ==========================================================================
    ``.csv``         comma-separated with a header
    ``.tsv``         tab-separated with a header
    ``.inter``       tab-separated with a typed header, ``user_id:token``
    ``.dat``         ``user::item::rating::timestamp``, no header (MovieLens 1M, 10M)
    ``.data``        the same four columns, tab-separated, no header (MovieLens 100K ``u.data``)
    a folder         ``ratings.csv`` + ``movies.csv``, ``ratings.dat`` + ``movies.dat``,
                     ``u.data`` + ``u.item``, or one ``.inter`` + ``.item``; titles are read too
    ===============  ==========================================================================

    Every row is a positive, whatever its rating, unless ``min_rating`` is given. ``.dat`` and
    ``.data`` files have no header to name their columns, so there ids must be whole numbers: it
    is how a file of another layout is noticed. Ids elsewhere are text and stay as they are written
    (``007`` is not ``7``). Times are numbers; convert dates before.

    Args:
        path: The file or folder.
        user, item: Names of the id columns; by default the usual ones are looked for
            (``user_id``, ``userId``, ``user``; ``item_id``, ``movieId``, ``item``, ..).
        min_rating: Keep rows of at least this rating.
        name: What to call the data set in reports; the file or folder name by default.

    Raises:
        DataError: The file is missing, empty or malformed, a column is missing, or a value is
            missing or not a number where one is due; the message names file, line and column.

    Example:
        >>> path = tmp_path / "ratings.csv"
        >>> _ = path.write_text("userId,movieId,rating\\n1,10,4.0\\n1,20,3.5\\n2,10,1.0\\n")
        >>> read_ratings(path)
        Interactions('ratings': 3 interactions, 2 users, 2 items, density 75.00%)
    """
    path = Path(path)
    ratings_path, titles = (_open_folder(path)) if path.is_dir() else (path, None)
    frame = _read_table(ratings_path)
    headless = ratings_path.suffix.lower() in (".dat", ".data")
    user = _column(frame, ratings_path, "user", user, USER_NAMES)
    item = _column(frame, ratings_path, "item", item, ITEM_NAMES)
    if user == item:
        raise DataError(f"{ratings_path}: user and item are both column {user!r}")
    timestamp = next((c for c in TIMESTAMP_NAMES if c in frame.columns), None)
    for column in (user, item):
        _check_present(frame, column, ratings_path)
        if headless:
            _numeric(frame, column, ratings_path, whole=True)
    if timestamp:
        frame = frame.assign(**{timestamp: _numeric(frame, timestamp, ratings_path)})
    if min_rating is not None:
        if "rating" not in frame.columns:
            raise DataError(f"{ratings_path}: min_rating needs a column 'rating'")
        frame = frame[_numeric(frame, "rating", ratings_path) >= min_rating]
        if frame.empty:
            raise DataError(f"{ratings_path}: no row has a rating of at least {min_rating}")
    return from_frame(
        frame, user=user, item=item, timestamp=timestamp, titles=titles, name=name or path.stem
    )


def _open_folder(folder: Path) -> tuple[Path, pd.Series | None]:
    found = [folder / f for f in _RATING_FILES if (folder / f).is_file()]
    found += sorted(folder.glob("*.inter"))
    if not found:
        raise DataError(
            f"{folder}: no ratings here; expected one of {', '.join(_RATING_FILES)} or *.inter"
        )
    ratings = found[0]
    beside = {
        "ratings.csv": "movies.csv",
        "ratings.dat": "movies.dat",
        "u.data": "u.item",
    }.get(ratings.name, f"{ratings.stem}.item")
    titles = folder / beside
    return ratings, _read_titles(titles) if titles.is_file() else None


def _read_titles(path: Path) -> pd.Series | None:
    """Titles indexed by item id, or ``None`` if the file has no column of titles."""
    if path.name == "movies.dat":
        return _split_lines(path, "::", 2).set_index(0)[1]
    if path.name == "u.item":
        return _split_lines(path, "|", 2).set_index(0)[1]
    frame = _read_table(path)
    item = _column(frame, path, "item", None, ITEM_NAMES)
    title = next((c for c in TITLE_NAMES if c in frame.columns), None)
    if title is None:
        return None
    titles = frame.set_index(item)[title]
    if "release_year" in frame.columns:
        year = pd.to_numeric(frame.set_index(item)["release_year"], errors="coerce")
        titles = titles.where(year.isna(), titles + year.map(" ({:.0f})".format))
    return titles


def _read_table(path: Path) -> pd.DataFrame:
    """The table with every field as text, indexed by the number of the line it stands on."""
    kind = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if kind not in _SUFFIXES:
        raise DataError(f"{path}: unknown kind of file; expected one of {', '.join(_SUFFIXES)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    if kind == ".dat":
        return _split_lines(path, "::", 4).set_axis(_MOVIELENS_COLUMNS, axis=1)
    headless = kind == ".data"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep="," if kind == ".csv" else "\t",
                header=None if headless else "infer",
                names=_MOVIELENS_COLUMNS if headless else None,
                dtype=str,
                keep_default_na=False,
                na_values=["", "nan", "NaN"],
                skip_blank_lines=False,
                index_col=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable table: {error}") from error
    frame.index += 1 if headless else 2
    frame = frame.dropna(how="all")
    if frame.empty:
        raise DataError(f"{path}: the file has a header but no rows")
    if kind in (".inter", ".item"):
        untyped = [c for c in frame.columns if ":" not in c]
        if untyped:
            raise DataError(
                f"{path}: line 1: column {untyped[0]!r} has no type; the header must read like "
                "user_id:token"
            )
        frame.columns = [c.split(":")[0] for c in frame.columns]
    return frame


def _split_lines(path: Path, separator: str, width: int) -> pd.DataFrame:
    """The first ``width`` columns of a file whose separator pandas' fast parser cannot take,
    indexed by line number. The bytes are Latin-1, as MovieLens has them."""
    rows = {}
    with path.open(encoding="latin-1") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.rstrip("\r\n").split(separator)
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


def _column(frame, path, kind: str, given: str | None, usual: tuple[str, ...]) -> str:
    names = (given,) if given else usual
    found = next((c for c in names if c in frame.columns), None)
    if found is None:
        have = ", ".join(map(repr, map(str, frame.columns)))
        if len(frame.columns) == 1:
            have += " alone: is it separated by commas (.csv) or tabs (.tsv), with a header?"
        wanted = repr(given) if given else f"for the {kind} ({', '.join(usual)})"
        raise DataError(
            f"{path}: no column {wanted}; the file has {have}. Name it with {kind}= "
            f"(--{kind} of the examples)"
        )
    return found


def _check_present(frame: pd.DataFrame, column: str, path: Path) -> None:
    gaps = frame.index[frame[column].isna()]
    if len(gaps):
        raise DataError(f"{path}: line {gaps[0]}: column {column!r} is empty")


def _numeric(frame: pd.DataFrame, column: str, path: Path, whole: bool = False) -> pd.Series:
    numbers = pd.to_numeric(frame[column], errors="coerce").astype(float)
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
