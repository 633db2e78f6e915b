"""Interactions from files: CSV, TSV, MovieLens ``::``, HetRec, ``.rating`` and ``.inter``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bayes_recsys.data.interactions import DataError, Interactions, from_frame, last_of_each
from bayes_recsys.data.tables import check_present, numeric, read_table, split_lines

# Header names understood without being told, the first that is present wins.
USER_NAMES = ("user_id", "userId", "user", "userid", "UserID", "userID")
ITEM_NAMES = (
    "item_id", "itemId", "item", "movie_id", "movieId", "itemid", "MovieID", "movieID", "artistID",
)  # fmt: skip
RATING_NAMES = ("rating", "weight")
TIMESTAMP_NAMES = ("timestamp", "Timestamp")
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
    columns: Sequence[str] | None = None,
    min_rating: float | None = None,
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
    a folder         ``ratings.csv`` + ``movies.csv``, ``ratings.dat`` + ``movies.dat``,
                     ``u.data`` + ``u.item``, ``user_artists.dat`` + ``artists.dat``, or one
                     ``.inter`` + ``.item``; titles are read too
    ===============  ==========================================================================

    A ``.csv``, ``.tsv`` or other file without header, or without the columns above, is read with
    ``columns``: ``columns=("user", "item", "rating", "timestamp")`` for Amazon's ratings. Of these
    names the ids', ``rating`` and ``timestamp`` are used; others are ignored.

    Every row is a positive, whatever its rating, unless ``min_rating`` is given. Where the columns
    of a file are known by neither header nor ``columns``, ids must be whole numbers: it is how a
    file of another layout is noticed. Ids elsewhere are text and stay as they are written
    (``007`` is not ``7``). Times are numbers; convert dates before.

    Args:
        path: The file or folder.
        user, item: Names of the id columns; by default the usual ones are looked for
            (``user_id``, ``userId``, ``user``; ``item_id``, ``movieId``, ``item``, ..).
        columns: Names of all columns, in order, of a file that has no header.
        min_rating: Keep pairs whose last row has at least this ``rating`` (or ``weight``, plays in Last.fm).
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
    ratings_path, titles = (_open_folder(path)) if path.is_dir() else (path, None)
    frame = read_table(ratings_path, columns, compact=True)
    user = _column(frame, ratings_path, "user", user, USER_NAMES)
    item = _column(frame, ratings_path, "item", item, ITEM_NAMES)
    if user == item:
        raise DataError(f"{ratings_path}: user and item are both column {user!r}")
    first = frame.iloc[0]
    if columns is not None and (first[user] in USER_NAMES or first[item] in ITEM_NAMES):
        raise DataError(
            f"{ratings_path}: line {frame.index[0]} is a header; leave out columns= and name what "
            "is not found with user= and item="
        )
    timestamp = next((c for c in TIMESTAMP_NAMES if c in frame.columns), None)
    for column in (user, item):
        check_present(frame, column, ratings_path)
    if timestamp:
        frame = frame.assign(**{timestamp: numeric(frame, timestamp, ratings_path)})
    if min_rating is not None:
        rating = next((c for c in RATING_NAMES if c in frame.columns), None)
        if rating is None:
            wanted = " or ".join(map(repr, RATING_NAMES))
            raise DataError(f"{ratings_path}: min_rating needs a column {wanted}")
        # A pair that was rated 5 and later 1 is no positive: which is the last comes first.
        frame = last_of_each(frame, user, item, timestamp, name or path.stem)
        frame = frame[numeric(frame, rating, ratings_path) >= min_rating]
        if frame.empty:
            raise DataError(f"{ratings_path}: no row has a {rating} of at least {min_rating}")
    return from_frame(
        frame, user=user, item=item, timestamp=timestamp, titles=titles, name=name or path.stem
    )


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if path.is_dir():
        raise DataError(f"{path}: columns= names the columns of a file, not of a folder")
    if isinstance(columns, str) or not columns or len(set(columns)) < len(columns):
        raise DataError(
            f"columns must be a tuple of different names, such as ('user', 'item'), not {columns!r}"
        )


def _open_folder(folder: Path) -> tuple[Path, pd.Series | None]:
    found = [folder / f for f in _FOLDERS if (folder / f).is_file()]
    found += sorted(folder.glob("*.inter"))
    if not found:
        raise DataError(
            f"{folder}: no ratings here; expected one of {', '.join(_FOLDERS)} or *.inter"
        )
    ratings = found[0]
    titles = folder / _FOLDERS.get(ratings.name, f"{ratings.stem}.item")
    return ratings, _read_titles(titles) if titles.is_file() else None


def _read_titles(path: Path) -> pd.Series | None:
    """Titles indexed by item id, or ``None`` if the file has no column of titles."""
    if path.name == "movies.dat":
        return split_lines(path, "::", 2).set_index(0)[1]
    if path.name == "u.item":
        return split_lines(path, "|", 2).set_index(0)[1]
    frame = read_table(path)
    item = _column(frame, path, "item", "id" if path.name == "artists.dat" else None, ITEM_NAMES)
    title = next((c for c in TITLE_NAMES if c in frame.columns), None)
    if title is None:
        return None
    titles = frame.set_index(item)[title]
    if "release_year" in frame.columns:
        year = pd.to_numeric(frame.set_index(item)["release_year"], errors="coerce")
        titles = titles.where(year.isna(), titles + year.map(" ({:.0f})".format))
    return titles


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
