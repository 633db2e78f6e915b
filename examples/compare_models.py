"""Train the models of the package on the same split and rank the same test items with each.

    .venv/bin/python -m pip install -e ".[benchmarks]"
    .venv/bin/python examples/compare_models.py --smoke
    .venv/bin/python examples/compare_models.py --data latest-small --out runs/comparison

Writes into the output folder one folder a run (runs that are there are not repeated, so that it can be
stopped and resumed, or split by --models and put together by a last run without), and comparison.csv,
comparison.md and comparison.png: means over users and seeds with 95 % intervals, and paired
differences from one of them (--against). A seed decides split, initial weights, negatives and draws; the
splits are written too, for other software to score the same cases.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bayes_recsys.experiments import SETTINGS
from bayes_recsys.experiments.comparison import SPLITS, Plan, compare_models, toy_data
from bayes_recsys.experiments.ratings import add_ratings, load_ratings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add, default = parser.add_argument, Plan()
    add_ratings(parser)
    add("--split", choices=SPLITS, default="random", help="8:1:1 of each user, or by time")
    add(
        "--as",
        dest="settings",
        choices=SETTINGS,
        default="tuned",
        help="models and training: tuned, as the papers have it, or as their authors' code has it",
    )
    add("--models", nargs="+", default=(), help="names (default: all, and the baselines)")
    add("--seeds", type=int, default=default.seeds, help="number of seeds (default: %(default)s)")
    add("--against", help="what the others are compared with (default: EASE, or the first model)")
    add("--epochs", type=int, default=default.epochs, help="at most (default: %(default)s)")
    add(
        "--negatives-exclude",
        choices=("train", "all"),
        default="train",
        help="'all' never draws held-out positives as negatives: a leak, for comparison only",
    )
    add("--out", type=Path, default=Path("runs/comparison"), help="folder for what is written")
    add("--smoke", action="store_true", help="one seed and two epochs of a toy data set instead")
    options = parser.parse_args()
    try:
        plan = Plan(
            models=options.models,
            split=options.split,
            settings=options.settings,
            seeds=options.seeds,
            against=options.against,
            epochs=options.epochs,
            negatives_exclude=options.negatives_exclude,
        )
    except ValueError as error:
        parser.error(str(error))
    if options.smoke:
        compare_models(toy_data(), plan.smoke(), options.out / "smoke")
    else:
        compare_models(load_ratings(options), plan, options.out)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        sys.exit(f'error: {error}; install the rest with pip install -e ".[benchmarks]"')
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished runs are kept; the same command goes on from there")
