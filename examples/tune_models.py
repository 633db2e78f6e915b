"""Look for the training that suits each model: the same search and the same budget for all.

    .venv/bin/python -m pip install -e ".[benchmarks]"
    .venv/bin/python examples/tune_models.py --data latest-small --trials 10 --out runs/tuning

Searches learning rate, weight decay and, where a model has it, dropout by the NDCG@10 of the
leave-one-out items, by which training stops early too; test items are not looked at. The first trial is
the setting of compare_models.py. Trials are kept in the output folder, so that the search can be
stopped and resumed, or run by several processes at once. Prints the best of each model; what it found is written
into compare_models.py by hand.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

import optuna
import torch
from compare_models import TUNED, Setting
from optuna.storages.journal import JournalFileBackend, JournalStorage

import bayes_recsys as br
from bayes_recsys.data import MOVIELENS, DataError, Split

DROPOUT = (0.0, 0.2, 0.5)


def quality(setting: Setting, split: Split, trial: optuna.Trial, epochs: int) -> float:
    """The best leave-one-out NDCG@10 of a training run with what the trial suggests."""
    options = dict(setting.options)
    training = setting.training | {
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
    }
    if "dropout" in inspect.signature(setting.model).parameters:
        options["dropout"] = trial.suggest_categorical("dropout", DROPOUT)
    torch.manual_seed(0)
    model = setting.model(br.data.histories(split), **options)
    fit = br.fit(model, split, **training, max_epochs=epochs, seed=0, progress=False)
    trial.set_user_attr("kept epoch", fit.best_epoch)
    return float(fit.history["ndcg@10"].max())


def first_trial(setting: Setting) -> dict[str, float]:
    start = {"learning_rate": setting.learning_rate, "weight_decay": setting.weight_decay}
    parameters = inspect.signature(setting.model).parameters
    if "dropout" in parameters:
        start["dropout"] = setting.options.get("dropout", parameters["dropout"].default)
    return start


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--data", default="100k", help=f"{', '.join(MOVIELENS)}, a ratings file or folder")
    add("--models", nargs="+", choices=TUNED, default=list(TUNED), help="default: all")
    add("--trials", type=int, default=10, help="of each model (default: 10)")
    add("--epochs", type=int, default=100, help="at most (default: 100)")
    add("--out", type=Path, default=Path("runs/tuning"), help="folder for the trials")
    options = parser.parse_args(arguments)
    split = br.data.split(br.data.load(options.data), seed=0)
    options.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(options.out / "trials.log")))
    for name in options.models:
        setting = TUNED[name]
        study = optuna.create_study(
            study_name=f"{name} on {split.interactions}", storage=storage, direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=0), load_if_exists=True,
        )  # fmt: skip
        if not study.trials:
            study.enqueue_trial(first_trial(setting))
        over = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.RUNNING)
        stop = optuna.study.MaxTrialsCallback(options.trials, states=over)
        if len(study.get_trials(states=over)) < options.trials:
            study.optimize(
                lambda trial, setting=setting: quality(setting, split, trial, options.epochs),
                callbacks=[stop],
            )
        best, first = study.best_trial, study.trials[0]
        found = ", ".join(f"{k} {v:.2g}" for k, v in best.params.items())
        print(
            f"{name}: {best.value:.4f} with {found}, epoch {best.user_attrs['kept epoch']} "
            f"(trial {best.number + 1} of {len(study.trials)}; the first {first.value:.4f})",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except (DataError, ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished trials are kept; the same command goes on from there")
