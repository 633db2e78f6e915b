"""Look for the training that suits each model: the same number of points for all.

Needs Optuna, which keeps the trials.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_recsys.data.interactions import Interactions
from bayes_recsys.data.splits import Split, split
from bayes_recsys.experiments.settings import BASELINES, TUNED, Baseline, Setting
from bayes_recsys.inference.options import Monitor, Training
from bayes_recsys.models.options import Options
from bayes_recsys.streams import stream

if TYPE_CHECKING:
    import optuna

# Of one measurement without improvement: a search wants more points rather than longer runs.
PATIENCE = 5


@dataclass(frozen=True)
class OneOf:
    """Any of these values, each as likely."""

    values: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> float:
        """One value."""
        return self.values[rng.integers(len(self.values))]

    def in_optuna(self) -> optuna.distributions.BaseDistribution:
        """The same as Optuna writes it down."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True)
class Between:
    """Any number between the two, uniform on the log scale."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One number."""
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))

    def in_optuna(self) -> optuna.distributions.BaseDistribution:
        """The same as Optuna writes it down."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=True)


TRAINING = {
    "learning_rate": Between(1e-3, 1e-2),
    "weight_decay": Between(1e-4, 1.0),
    "dropout": OneOf((0.0, 0.2, 0.5)),
}
FACTORS = OneOf((16, 32, 64, 128))
SPACES = {
    "item k-NN": {
        "neighbours": OneOf((10, 20, 50, 100, 200, 500)),
        "shrink": OneOf((0.0, 5.0, 20.0, 100.0)),
    },
    "EASE": {"l2": Between(10, 5000)},
    "SLIM": {"l1": Between(0.5, 10), "l2": Between(1, 100)},
    "iALS": {"factors": FACTORS, "l2": Between(1, 100), "alpha": Between(1, 40)},
    "BPR-MF": {
        "factors": FACTORS,
        "l2": Between(1e-3, 1e-1),
        "learning_rate": Between(1e-3, 1e-1),
    },
}
WAYS: dict[str, Setting | Baseline] = {**{name: BASELINES[name] for name in SPACES}, **TUNED}


def first(name: str) -> dict[str, float]:
    """The defaults."""
    way = WAYS[name]
    if isinstance(way, Baseline):
        parameters = inspect.signature(way.scorer).parameters
        return {key: parameters[key].default for key in SPACES[name]}
    training = Training()
    point = {
        "learning_rate": training.learning_rate,
        "weight_decay": training.decay(way.objective),
    }
    defaults = Options(way.options.model, {}).values
    return point | ({"dropout": defaults["dropout"]} if "dropout" in defaults else {})


def points(name: str, trials: int) -> list[dict[str, float]]:
    """The defaults, then random ones: for models, the same for all."""
    found = [first(name)]
    rng = stream("points to try", 0)
    for _ in range(trials - 1):
        point = {key: one.draw(rng) for key, one in SPACES.get(name, TRAINING).items()}
        found.append({key: value for key, value in point.items() if key in found[0]})
    return found


def with_point(way: Setting | Baseline, point: dict[str, Any], epochs: int) -> Setting | Baseline:
    """The same way with a point of its space."""
    if isinstance(way, Baseline):
        return replace(way, options=point, among={})
    options = {key: value for key, value in point.items() if key == "dropout"}
    training = {key: value for key, value in point.items() if key != "dropout"}
    return replace(
        way,
        options=Options(way.options.model, {**way.options.values, **options}),
        training=replace(way.training, **training, patience=PATIENCE, max_epochs=epochs),
    )


def quality(way: Setting | Baseline, parts: Split, trial: optuna.Trial, epochs: int) -> float:
    """NDCG@10 of the validation items after training with the trial's point."""
    way = with_point(way, trial.params, epochs)
    if isinstance(way, Baseline):
        scorer = way.fit(parts, seed=0)
    else:
        outcome = way.fit(parts)
        scorer = outcome.model
        trial.set_user_attr("kept epoch", outcome.best_epoch)
    return Monitor().measure(scorer, parts, 0)


def search(study: optuna.Study, name: str, parts: Split, trials: int, epochs: int) -> None:
    """Try the points that have no outcome yet."""
    from optuna.trial import TrialState

    finished = [
        t for t in study.trials if t.state == TrialState.COMPLETE or "failure" in t.user_attrs
    ]
    done = [t.params for t in finished]
    space = SPACES.get(name, TRAINING)
    for point in points(name, trials):
        if point in done:
            continue
        done.append(point)
        study.enqueue_trial(point)
        trial = study.ask({key: space[key].in_optuna() for key in point})
        try:
            study.tell(trial, quality(WAYS[name], parts, trial, epochs))
        except FloatingPointError as error:
            trial.set_user_attr("failure", str(error))
            study.tell(trial, state=TrialState.FAIL)
        except KeyboardInterrupt:
            study.tell(trial, state=TrialState.FAIL)
            raise


def outcome(study: optuna.Study, name: str) -> str:
    """The best trial, in a line."""
    from optuna.trial import TrialState

    done = [t for t in study.trials if t.state == TrialState.COMPLETE]
    if not done:
        return f"{name}: every trial failed"
    best = max(done, key=lambda trial: trial.value)
    found = ", ".join(f"{k} {v:.4g}" for k, v in best.params.items())
    epoch = f", epoch {best.user_attrs['kept epoch']}" if "kept epoch" in best.user_attrs else ""
    start = [t.value for t in done if t.params == first(name)]
    return (
        f"{name}: {best.value:.4f} with {found}{epoch} (best of {len(done)}; the first "
        f"{f'{start[0]:.4f}' if start else 'failed'})"
    )


def tune(data: Interactions, names: Sequence[str], trials: int, epochs: int, out: Path) -> None:
    """Search for each of the models, and print the best of each.

    Args:
        data: What is split, by seed 0.
        names: Of ``WAYS``; none: all.
        trials: Of each.
        epochs: Most of a trial.
        out: Folder for the trials.

    Raises:
        ModuleNotFoundError: There is no Optuna.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    parts = split(data, seed=0)
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(out / "trials.log")))
    for name in names or WAYS:
        about = {"data": str(data), **WAYS[name].record(), "epochs": epochs}
        study = optuna.create_study(
            study_name=f"{name}: {json.dumps(about)}",
            storage=storage,
            direction="maximize",
            load_if_exists=True,
        )
        search(study, name, parts, trials, epochs)
        print(outcome(study, name), flush=True)
