"""Which ratings a script reads: options they share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bayes_recsys.data.interactions import Interactions
from bayes_recsys.data.sources import DATASETS, load


def add_ratings(parser: argparse.ArgumentParser, *, names: Sequence[str] = DATASETS) -> None:
    """Options that say which ratings; :func:`load_ratings` reads them.

    Args:
        parser: Gets the options.
        names: Data sets that the script knows by name.
    """
    add = parser.add_argument
    add("--data", default="100k", help=f"{', '.join(names)}, a ratings file or folder")
    for column in ("user", "item", "rating", "timestamp"):
        add(f"--{column}", help=f"name of the {column} column of a ratings file")
    add("--columns", nargs="+", help="names of all columns of a ratings file without header")
    add("--encoding", help="of a ratings file's text (default: UTF-8)")
    add("--min-rating", type=float, help="leave out ratings below (default: all are positives)")


def load_ratings(options: argparse.Namespace) -> Interactions:
    """The ratings that the options name.

    Raises:
        DataError: There are none, or they cannot be read.
        ValueError: Columns are named of a data set known by name.
    """
    return load(
        options.data,
        user=options.user,
        item=options.item,
        rating=options.rating,
        timestamp=options.timestamp,
        columns=options.columns,
        min_rating=options.min_rating,
        encoding=options.encoding,
    )


def names_columns(options: argparse.Namespace) -> bool:
    """Whether something is said of a file's columns or text."""
    names = ("user", "item", "rating", "timestamp", "columns", "encoding")
    return any(getattr(options, name) for name in names)
