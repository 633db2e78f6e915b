"""Which ratings a script reads: options they share."""

from __future__ import annotations

import argparse

import bayes_recsys as br
from bayes_recsys.data import DATASETS, Interactions


def add_ratings(parser: argparse.ArgumentParser, *, names: tuple[str, ...] = DATASETS) -> None:
    add = parser.add_argument
    add("--data", default="100k", help=f"{', '.join(names)}, a ratings file or folder")
    add("--user", help="name of the user column of a ratings file")
    add("--item", help="name of the item column of a ratings file")
    add("--columns", nargs="+", help="names of all columns of a ratings file without header")
    add("--min-rating", type=float, help="leave out ratings below (default: all are positives)")


def load_ratings(options: argparse.Namespace) -> Interactions:
    return br.data.load(
        options.data,
        user=options.user,
        item=options.item,
        columns=options.columns,
        min_rating=options.min_rating,
    )
