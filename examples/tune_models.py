"""Look for the training that suits each model: the same points and the same budget for all.

    .venv/bin/python -m pip install -e ".[benchmarks]"
    .venv/bin/python examples/tune_models.py --data latest-small --trials 10 --out runs/tuning

Random search over learning rate, weight decay and, where a model has it, dropout, by the NDCG@10 of the
leave-one-out items, by which training stops early too; test items are not looked at. The first trial is
the setting of compare_models.py. Trials are kept in the output folder, so that the search can be
stopped and resumed, or shared by processes with different --models. Prints the best of each model.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

import numpy as np
import optuna
import torch
from compare_models import DEFAULT, Setting
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import TrialState

import bayes_recsys as br
from bayes_recsys.data import DATASETS, DataError, Split

LEARNING_RATE, WEIGHT_DECAY, DROPOUT = (3e-4, 1e-2), (1e-4, 1.0), (0.0, 0.2, 0.5)
PATIENCE = (
    5  # half of what the comparison waits: a search wants more points rather than longer runs
)


def points(setting: Setting, trials: int) -> list[dict[str, float]]:
    """The setting itself, then random points, the same for every model."""
    parameters = inspect.signature(setting.model).parameters
    found = [{"learning_rate": setting.learning_rate, "weight_decay": setting.weight_decay}]
    if "dropout" in parameters:
        found[0]["dropout"] = setting.options.get("dropout", parameters["dropout"].default)
    rng = np.random.default_rng(0)
    for _ in range(trials - 1):
        rate, decay = (np.exp(rng.uniform(*np.log(ends))) for ends in (LEARNING_RATE, WEIGHT_DECAY))
        point = {"learning_rate": float(rate), "weight_decay": float(decay)}
        dropout = float(rng.choice(DROPOUT))
        found.append(point | ({"dropout": dropout} if "dropout" in parameters else {}))
    return found


def quality(setting: Setting, split: Split, trial: optuna.Trial, epochs: int) -> float:
    """The best leave-one-out NDCG@10 of a training run with the trial's point."""
    training = {k: v for k, v in trial.params.items() if k != "dropout"} | {"patience": PATIENCE}
    options = {k: v for k, v in trial.params.items() if k == "dropout"}
    torch.manual_seed(0)
    model = setting.model(br.data.histories(split), **setting.options | options)
    fit = br.fit(
        model, split, **setting.training | training, max_epochs=epochs, seed=0, progress=False
    )
    if fit.stopped == "interrupted":  # a run cut short is no result
        raise KeyboardInterrupt
    trial.set_user_attr("kept epoch", fit.best_epoch)
    return float(fit.history["ndcg@10"].max())


def tune(study: optuna.Study, setting: Setting, split: Split, trials: int, epochs: int) -> None:
    """Try the points that have no outcome yet."""
    space = {
        "learning_rate": optuna.distributions.FloatDistribution(*LEARNING_RATE, log=True),
        "weight_decay": optuna.distributions.FloatDistribution(*WEIGHT_DECAY, log=True),
        "dropout": optuna.distributions.CategoricalDistribution(DROPOUT),
    }
    finished = [
        t for t in study.trials if t.state == TrialState.COMPLETE or "failure" in t.user_attrs
    ]
    done = [t.params for t in finished]
    for point in points(setting, trials):
        if point in done:
            continue
        study.enqueue_trial(point)
        trial = study.ask({name: space[name] for name in point})
        try:
            study.tell(trial, quality(setting, split, trial, epochs))
        except FloatingPointError as error:
            trial.set_user_attr("failure", str(error))
            study.tell(trial, state=TrialState.FAIL)
        except KeyboardInterrupt:
            study.tell(trial, state=TrialState.FAIL)
            raise


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--data", default="100k", help=f"{', '.join(DATASETS)}, a ratings file or folder")
    add("--user", help="name of the user column of a ratings file")
    add("--item", help="name of the item column of a ratings file")
    add("--columns", nargs="+", help="names of all columns of a ratings file without header")
    add("--min-rating", type=float, help="leave out ratings below (default: all are positives)")
    add("--models", nargs="+", help="names as in compare_models.py; default: all")
    add("--trials", type=int, default=10, help="of each model (default: 10)")
    add("--epochs", type=int, default=100, help="at most (default: 100)")
    add("--out", type=Path, default=Path("runs/tuning"), help="folder for the trials")
    options = parser.parse_args(arguments)
    options.models = list(dict.fromkeys(options.models or DEFAULT))
    unknown = [name for name in options.models if name not in DEFAULT]
    if unknown:
        parser.error(f"--models: no {unknown[0]!r} among {', '.join(map(repr, DEFAULT))}")
    if min(options.trials, options.epochs) < 1:
        parser.error("--trials and --epochs must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = br.data.load(
        options.data,
        user=options.user,
        item=options.item,
        columns=options.columns,
        min_rating=options.min_rating,
    )
    split = br.data.split(data, seed=0)
    options.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(options.out / "trials.log")))
    for name in options.models:
        setting = DEFAULT[name]
        about = f"{name} on {data}, {setting.options}, {setting.training}, {options.epochs} epochs"
        study = optuna.create_study(
            study_name=about, storage=storage, direction="maximize", load_if_exists=True
        )
        tune(study, setting, split, options.trials, options.epochs)
        outcome = [t for t in study.trials if t.state == TrialState.COMPLETE]
        if not outcome:
            print(f"{name}: every trial failed")
            continue
        best = max(outcome, key=lambda trial: trial.value)
        found = ", ".join(f"{k} {v:.2g}" for k, v in best.params.items())
        first = [t.value for t in outcome if t.params == points(setting, 1)[0]]
        print(
            f"{name}: {best.value:.4f} with {found}, epoch {best.user_attrs['kept epoch']} (best "
            f"of {len(outcome)}; the first {f'{first[0]:.4f}' if first else 'failed'})",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except (DataError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished trials are kept; the same command goes on from there")
