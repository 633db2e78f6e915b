"""Interactions from files: CSV, TSV, MovieLens ``::``, HetRec, ``.rating`` and ``.inter``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bayes_recsys.data.columns import check_no_header, check_present, numeric, times
from bayes_recsys.data.frames import from_frame, last_of_each
from bayes_recsys.data.interactions import DataError, Interactions
from bayes_recsys.data.lines import split_lines, stem
from bayes_recsys.data.tables import OLD, read_table

# Header names understood without being told, the first that is present wins.
USER_NAMES = ("user_id", "userId", "user", "userid", "UserID", "userID")
ITEM_NAMES = (
    "item_id", "itemId", "item", "movie_id", "movieId", "itemid", "MovieID", "movieID", "artistID",
)  # fmt: skip
RATING_NAMES = ("rating", "weight")
TIMESTAMP_NAMES = ("timestamp", "Timestamp", "time", "datetime", "date", "when")
TITLE_NAMES = ("title", "movie_title", "name")

# Files of ratings that a folder may hold, each with the file of titles beside it.
_FOLDERS = {
    "ratings.csv": "movies.csv",
    "ratings.dat": "movies.dat",
    "u.data": "u.item",
    "user_artists.dat": "artists.dat",
}


def read_ratings(
    path: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    timestamp: str | None = None,
    title: str | None = None,
    columns: Sequence[str] | None = None,
    min_rating: float | None = None,
    encoding: str | None = None,
    name: str | None = None,
) -> Interactions:
    """Read a ratings file, or a folder as MovieLens, HetRec or RecBole ship it.

    ===============  ==========================================================================
    ``.csv``         comma-separated with a header
    ``.tsv``         tab-separated with a header
    ``.inter``       tab-separated with a typed header, ``user_id:token``
    ``.dat``         ``user::item::rating::timestamp``, no header (MovieLens 1M, 10M), or
                     tab-separated with a header and no quoting (HetRec); the first line tells
    ``.data``        the same four columns, tab-separated, no header (MovieLens 100K ``u.data``)
    ``.rating``      as ``.data`` (NCF, DeepCF)
    ``.parquet``     Parquet, by ``pyarrow``, which you install
    a folder         ``ratings.csv`` + ``movies.csv``, ``ratings.dat`` + ``movies.dat``,
                     ``u.data`` + ``u.item``, ``user_artists.dat`` + ``artists.dat``, or one
                     ``.inter`` + ``.item``; titles are read too
    ===============  ==========================================================================

    Text may be packed (``ratings.csv.gz``). A ``.csv``, ``.tsv`` or other file without header, or without the columns above, is read with
    ``columns``: ``columns=("user", "item", "rating", "timestamp")`` for Amazon's ratings. Of these
    names the ids', ``rating``, ``timestamp`` and ``title`` are used; others are ignored.

    Every row is a positive, whatever its rating, unless ``min_rating`` is given. Where the columns
    of a file are known by neither header nor ``columns``, ids must be whole numbers: it is how a
    file of another layout is noticed. Ids elsewhere are text and stay as they are written
    (``007`` is not ``7``). Times are numbers, or dates in ISO 8601, which become seconds since 1970.

    Args:
        path: The file or folder.
        user, item, rating, timestamp, title: Names of columns; by default the usual ones are looked for
            (``user_id``, ``userId``, ``user``; ``item_id``, ``movieId``, ``item``, ..; ``rating``, ``weight``;
            ``timestamp``, ``time``, ``datetime``, ``date``, ``when``; ``title``, ``movie_title``, ``name``). A rating is
            read if ``min_rating`` asks for it; ``title`` is a column of a folder's file of titles, or of the
            file.
        columns: Names of all columns, in order, of a file that has no header.
        min_rating: Keep pairs whose last row has at least this rating (or plays, in Last.fm).
        encoding: Of the text; by default UTF-8, and Latin-1 where ``::`` separates.
        name: What to call the data set in reports; the file or folder name by default.

    Raises:
        DataError: The file is missing, empty or malformed, a column is missing, a value is
            missing or not a number where one is due, or ``columns`` does not fit; the message
            names file, line and column.

    Example:
        >>> path = tmp_path / "ratings.csv"
        >>> _ = path.write_text("userId,movieId,rating\\n1,10,4.0\\n1,20,3.5\\n2,10,1.0\\n")
        >>> read_ratings(path)
        Interactions('ratings': 3 interactions, 2 users, 2 items, density 75.00%)
        >>> path = tmp_path / "ratings_Beauty.csv"
        >>> _ = path.write_text("A39,0205616461,5.0,1369699200\\nA39,0558925278,3.0,1355443200\\n")
        >>> read_ratings(path, columns=("user", "item", "rating", "timestamp")).item_ids.tolist()
        ['0205616461', '0558925278']
    """
    path = Path(path)
    if columns is not None:
        _check_columns(path, columns)
    source, titles = _open_folder(path, title, encoding) if path.is_dir() else (path, None)
    frame = read_table(source, columns, encoding=encoding, compact=True)
    user = _column(frame, source, "user", user, USER_NAMES)
    item = _column(frame, source, "item", item, ITEM_NAMES)
    if user == item:
        raise DataError(f"{source}: user and item are both column {user!r}")
    rating = _other_column(frame, source, "rating", rating, RATING_NAMES)
    timestamp = _other_column(frame, source, "timestamp", timestamp, TIMESTAMP_NAMES)
    if columns is not None:
        numbers = [column for column in (rating, timestamp) if column]
        check_no_header(frame, (user, item), numbers, source)
        _check_names(frame, user, item, source)
    for column in (user, item):
        check_present(frame, column, source)
    if timestamp:
        frame = frame.assign(**{timestamp: times(frame, timestamp, source)})
    name = name or stem(path)
    if titles is None and not path.is_dir():
        title = _other_column(frame, source, "title", title, TITLE_NAMES[:2])
        if title and frame[title].notna().any():
            titled = frame[frame[title].notna()]
            titles = titled.drop_duplicates(item, keep="last").set_index(item)[title]
    if min_rating is not None:
        frame = _rated(frame, user, item, rating, timestamp, min_rating, source, name)
    return from_frame(frame, user=user, item=item, timestamp=timestamp, titles=titles, name=name)


def _rated(
    frame: pd.DataFrame,
    user: str,
    item: str,
    rating: str | None,
    timestamp: str | None,
    least: float,
    path: Path,
    name: str,
) -> pd.DataFrame:
    """Of each pair the last row, if it has at least this rating."""
    if rating is None:
        wanted = " or ".join(map(repr, RATING_NAMES))
        raise DataError(f"{path}: min_rating needs a column {wanted}, or one named with rating=")
    # A pair that was rated 5 and later 1 is no positive: which is the last comes first.
    frame = last_of_each(frame, user, item, timestamp, name)
    frame = frame[numeric(frame, rating, path) >= least]
    if frame.empty:
        raise DataError(f"{path}: no row has a {rating} of at least {least}")
    return frame


def _check_names(frame: pd.DataFrame, user: str, item: str, path: Path) -> None:
    """Refuse a first row that is a header of text ids."""
    first = frame.iloc[0]
    known = {name.lower() for name in (*USER_NAMES, *ITEM_NAMES)}
    if {str(first[user]).lower(), str(first[item]).lower()} & known:
        raise DataError(
            f"{path}: line {frame.index[0]} is a header; leave out columns= and name what "
            "is not found with user= and item="
        )


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if path.is_dir():
        raise DataError(f"{path}: columns= names the columns of a file, not of a folder")
    if isinstance(columns, str) or not columns or len(set(columns)) < len(columns):
        raise DataError(
            f"columns must be a tuple of different names, such as ('user', 'item'), not {columns!r}"
        )


def _open_folder(
    folder: Path, title: str | None, encoding: str | None
) -> tuple[Path, pd.Series | None]:
    found = [folder / f for f in _FOLDERS if (folder / f).is_file()]
    found += sorted(folder.glob("*.inter"))
    if not found:
        raise DataError(
            f"{folder}: no ratings here; expected one of {', '.join(_FOLDERS)} or *.inter"
        )
    ratings = found[0]
    path = folder / _FOLDERS.get(ratings.name, f"{ratings.stem}.item")
    if not path.is_file() and title:
        raise DataError(f"{folder}: title= names a column of {path.name}, which is not there")
    return ratings, _read_titles(path, title, encoding) if path.is_file() else None


def _read_titles(path: Path, title: str | None, encoding: str | None) -> pd.Series | None:
    """Titles indexed by item id, or ``None`` if the file has no column of titles."""
    if path.name == "movies.dat":
        return split_lines(path, "::", 2, encoding or OLD).set_index(0)[1]
    if path.name == "u.item":
        return split_lines(path, "|", 2, encoding or OLD).set_index(0)[1]
    frame = read_table(path, encoding=encoding)
    item = _column(frame, path, "item", "id" if path.name == "artists.dat" else None, ITEM_NAMES)
    title = _other_column(frame, path, "title", title, TITLE_NAMES)
    if title is None:
        return None
    titles = frame.set_index(item)[title]
    if "release_year" in frame.columns:
        year = pd.to_numeric(frame.set_index(item)["release_year"], errors="coerce")
        titles = titles.where(year.isna(), titles + year.map(" ({:.0f})".format))
    return titles


def _other_column(
    frame: pd.DataFrame, path: Path, kind: str, given: str | None, usual: tuple[str, ...]
) -> str | None:
    """The column named, or the first of the usual ones that is there."""
    if given is not None and given not in frame.columns:
        have = ", ".join(map(repr, map(str, frame.columns)))
        raise DataError(f"{path}: {kind}={given!r} is no column; the file has {have}")
    return given or next((column for column in usual if column in frame.columns), None)


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
            f"(--{kind} of the examples), or, if line 1 is no header, name all columns with "
            "columns= (--columns)"
        )
    return found
