"""Look for the training that suits each model: the same number of points for all.

    .venv/bin/python -m pip install -e ".[benchmarks]"
    .venv/bin/python examples/tune_models.py --data latest-small --trials 10 --out runs/tuning

Random search by NDCG@10 of the validation items among the whole catalogue; test items are not looked at.
Models: learning rate, weight decay and, where there is one, dropout, the same points for every model.
Baselines: what SPACES of bayes_recsys/experiments/tuning.py says. The first trial is the defaults. Trials are
kept in the output folder, so that the search can be stopped and resumed, or shared by processes with
different --models. Prints the best of each.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bayes_recsys.experiments.ratings import add_ratings, load_ratings
from bayes_recsys.experiments.tuning import WAYS, tune


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add_ratings(parser)
    add("--models", nargs="+", default=[], help="names as in compare_models.py (default: all)")
    add("--trials", type=int, default=10, help="of each model (default: %(default)s)")
    add("--epochs", type=int, default=100, help="at most (default: %(default)s)")
    add("--out", type=Path, default=Path("runs/tuning"), help="folder for the trials")
    options = parser.parse_args()
    unknown = [name for name in options.models if name not in WAYS]
    if unknown:
        parser.error(f"--models: no {unknown[0]!r} among {', '.join(map(repr, WAYS))}")
    if min(options.trials, options.epochs) < 1:
        parser.error("--trials and --epochs must be at least 1")
    names = list(dict.fromkeys(options.models))
    tune(load_ratings(options), names, options.trials, options.epochs, options.out)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        sys.exit(f'error: {error}; install the rest with pip install -e ".[benchmarks]"')
    except (ValueError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished trials are kept; the same command goes on from there")
