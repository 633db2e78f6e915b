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
    add("--user", help="name of the user column of a ratings file")
    add("--item", help="name of the item column of a ratings file")
    add("--columns", nargs="+", help="names of all columns of a ratings file without header")
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
        columns=options.columns,
        min_rating=options.min_rating,
    )
