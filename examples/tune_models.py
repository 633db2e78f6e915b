"""Look for the training that suits each model: the same number of points for all.

    .venv/bin/python -m pip install -e ".[benchmarks]"
    .venv/bin/python examples/tune_models.py --data latest-small --trials 10 --out runs/tuning

Random search by NDCG@10 of the validation items among the whole catalogue; test items are not looked at.
Models: learning rate, weight decay and, where there is one, dropout, the same points for every model.
Baselines: what SPACES says. The first trial is the defaults. Trials are kept in the output folder, so that
the search can be stopped and resumed, or shared by processes with different --models.
Prints the best of each.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import warnings
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import TrialState
from ratings import add_ratings, load_ratings
from settings import BASELINES, TUNED, Baseline, Setting

import bayes_recsys as br
from bayes_recsys.data import DataError, Split

# Half of what the comparison waits: a search wants more points rather than longer runs.
PATIENCE = 5
TRAINING = {
    "learning_rate": FloatDistribution(1e-3, 1e-2, log=True),
    "weight_decay": FloatDistribution(1e-4, 1.0, log=True),
    "dropout": CategoricalDistribution((0.0, 0.2, 0.5)),
}
FACTORS = CategoricalDistribution((16, 32, 64, 128))
SPACES = {
    "item k-NN": {
        "neighbours": CategoricalDistribution((10, 20, 50, 100, 200, 500)),
        "shrink": CategoricalDistribution((0.0, 5.0, 20.0, 100.0)),
    },
    "EASE": {"l2": FloatDistribution(10, 5000, log=True)},
    "SLIM": {"l1": FloatDistribution(0.5, 10, log=True), "l2": FloatDistribution(1, 100, log=True)},
    "iALS": {
        "factors": FACTORS,
        "l2": FloatDistribution(1, 100, log=True),
        "alpha": FloatDistribution(1, 40, log=True),
    },
    "BPR-MF": {
        "factors": FACTORS,
        "l2": FloatDistribution(1e-3, 1e-1, log=True),
        "learning_rate": FloatDistribution(1e-3, 1e-1, log=True),
    },
}
SETTINGS = {**{name: BASELINES[name] for name in SPACES}, **TUNED}


def first(name: str) -> dict[str, float]:
    """The defaults."""
    setting = SETTINGS[name]
    if isinstance(setting, Baseline):
        parameters = inspect.signature(setting.scorer).parameters
        return {key: parameters[key].default for key in SPACES[name]}
    default = Setting(setting.model)
    point = {"learning_rate": default.learning_rate, "weight_decay": default.weight_decay}
    dropout = inspect.signature(setting.model).parameters.get("dropout")
    return point if dropout is None else point | {"dropout": dropout.default}


def points(name: str, trials: int) -> list[dict[str, float]]:
    """The defaults, then random ones: for models, the same for all."""
    found = [first(name)]
    rng = np.random.default_rng(0)
    for _ in range(trials - 1):
        point = {key: drawn(one, rng) for key, one in SPACES.get(name, TRAINING).items()}
        found.append({key: value for key, value in point.items() if key in found[0]})
    return found


def drawn(space: BaseDistribution, rng: np.random.Generator) -> float:
    if isinstance(space, CategoricalDistribution):
        return space.choices[rng.integers(len(space.choices))]
    return float(np.exp(rng.uniform(np.log(space.low), np.log(space.high))))


def quality(setting: Setting | Baseline, split: Split, trial: optuna.Trial, epochs: int) -> float:
    """NDCG@10 of the validation items after training with the trial's point."""
    if isinstance(setting, Baseline):
        scorer = setting.scorer(split, **trial.params)
    else:
        training = {k: v for k, v in trial.params.items() if k != "dropout"}
        options = {k: v for k, v in trial.params.items() if k == "dropout"}
        torch.manual_seed(0)
        scorer = setting.model(br.data.histories(split), **setting.options | options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", br.inference.CollapseWarning)
            fit = br.fit(
                scorer, split, **setting.training | training | {"patience": PATIENCE},
                max_epochs=epochs, seed=0, progress=False,
            )  # fmt: skip
        if fit.stopped == "interrupted":  # a run cut short is no result
            raise KeyboardInterrupt
        trial.set_user_attr("kept epoch", fit.best_epoch)
    return float(br.evaluate(scorer, split, part="validation", ks=(10,)).per_user["ndcg@10"].mean())


def tune(study: optuna.Study, name: str, split: Split, trials: int, epochs: int) -> None:
    """Try the points that have no outcome yet."""
    finished = [
        t for t in study.trials if t.state == TrialState.COMPLETE or "failure" in t.user_attrs
    ]
    done = [t.params for t in finished]
    space = SPACES.get(name, TRAINING)
    for point in points(name, trials):
        if point in done:
            continue
        study.enqueue_trial(point)
        trial = study.ask({key: space[key] for key in point})
        try:
            study.tell(trial, quality(SETTINGS[name], split, trial, epochs))
        except FloatingPointError as error:
            trial.set_user_attr("failure", str(error))
            study.tell(trial, state=TrialState.FAIL)
        except KeyboardInterrupt:
            study.tell(trial, state=TrialState.FAIL)
            raise


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add_ratings(parser)
    add("--models", nargs="+", help="names as in settings.py; default: all")
    add("--trials", type=int, default=10, help="of each model (default: 10)")
    add("--epochs", type=int, default=100, help="at most (default: 100)")
    add("--out", type=Path, default=Path("runs/tuning"), help="folder for the trials")
    options = parser.parse_args(arguments)
    options.models = list(dict.fromkeys(options.models or SETTINGS))
    unknown = [name for name in options.models if name not in SETTINGS]
    if unknown:
        parser.error(f"--models: no {unknown[0]!r} among {', '.join(map(repr, SETTINGS))}")
    if min(options.trials, options.epochs) < 1:
        parser.error("--trials and --epochs must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    data = load_ratings(options)
    split = br.data.split(data, seed=0)
    options.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(options.out / "trials.log")))
    for name in options.models:
        about = f"{name} on {data}, {SETTINGS[name]}, {options.epochs} epochs"
        study = optuna.create_study(
            study_name=about, storage=storage, direction="maximize", load_if_exists=True
        )
        tune(study, name, split, options.trials, options.epochs)
        outcome = [t for t in study.trials if t.state == TrialState.COMPLETE]
        if not outcome:
            print(f"{name}: every trial failed")
            continue
        best = max(outcome, key=lambda trial: trial.value)
        found = ", ".join(f"{k} {v:.2g}" for k, v in best.params.items())
        epoch = (
            f", epoch {best.user_attrs['kept epoch']}" if "kept epoch" in best.user_attrs else ""
        )
        start = [t.value for t in outcome if t.params == points(name, 1)[0]]
        print(
            f"{name}: {best.value:.4f} with {found}{epoch} (best of {len(outcome)}; the first "
            f"{f'{start[0]:.4f}' if start else 'failed'})",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except (DataError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished trials are kept; the same command goes on from there")
