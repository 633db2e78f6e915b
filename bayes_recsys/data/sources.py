"""Data by what a command line says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bayes_recsys.data.files import read_ratings
from bayes_recsys.data.interactions import DataError, Interactions
from bayes_recsys.data.lastfm import load_lastfm
from bayes_recsys.data.movielens import MOVIELENS, load_movielens

DATASETS = (*MOVIELENS, "lastfm")
"""Data sets that :func:`load` knows by name."""


def load(
    data: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    timestamp: str | None = None,
    columns: Sequence[str] | None = None,
    min_rating: float | None = None,
    encoding: str | None = None,
) -> Interactions:
    """Interactions by name or path.

    Args:
        data: A name of ``DATASETS`` (``"latest-small"``, ``"100k"``, ``"1m"``: MovieLens;
            ``"lastfm"``), or a path as :func:`~bayes_recsys.data.files.read_ratings` takes it.
        user, item, rating, timestamp: Names of columns of a file.
        columns: Names of all columns of a file that has no header.
        min_rating: Keep rows of at least this rating; for Last.fm, of this many plays.
        encoding: Of a file's text.

    Raises:
        DataError: There is no such data set or file, or it cannot be read.
        ValueError: Columns or an encoding are given for a data set known by name.
    """
    if data in DATASETS:
        if user or item or rating or timestamp or columns or encoding:
            raise ValueError(
                f"names of columns, and an encoding, are for a ratings file, not for {data}"
            )
        if data == "lastfm":
            return load_lastfm(min_plays=min_rating)
        return load_movielens(str(data), min_rating=min_rating)
    if not Path(data).exists():
        raise DataError(
            f"{str(data)!r} is neither a file nor a folder nor one of {', '.join(DATASETS)}"
        )
    return read_ratings(
        data,
        user=user,
        item=item,
        rating=rating,
        timestamp=timestamp,
        columns=columns,
        min_rating=min_rating,
        encoding=encoding,
    )
