"""Train the models of the package on the same split and rank the same test items with each.

    .venv/bin/python examples/compare_models.py --smoke
    .venv/bin/python examples/compare_models.py --data latest-small --out runs/comparison

Writes into the output folder one file a run (runs that are there are not repeated, so that it can be
stopped and resumed, or split by --models and put together by a last run without), and comparison.csv and comparison.md:
means over users and seeds with a 95 % bootstrap interval in which users and seeds are resampled.
A seed decides split, initial weights, negatives and draws.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import bayes_recsys as br
from bayes_recsys.data import DATASETS, DataError, Interactions
from bayes_recsys.families import LogNormal, Point
from bayes_recsys.models import (
    AML,
    ARL,
    BAMF,
    DACR,
    DELF,
    FISM,
    GMF,
    MLP,
    NAIS,
    Affection,
    Association,
    CFNet,
    CFNetML,
    CFNetRL,
    DRNet,
    Model,
    NeuMF,
)
from bayes_recsys.scores import Scores

METRICS = ("ndcg@10", "hr@10")
PROTOCOLS = ("full", "sampled")


@dataclass(frozen=True)
class Setting:
    """How a model is built and trained."""

    model: type[Model]
    options: dict = field(default_factory=dict)
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    kl_weight: float = 1.0
    kl_reduction: str = "sum"
    pairs: int = 1024
    patience: int = 10

    @property
    def training(self) -> dict[str, float | str]:
        """The arguments of ``fit``."""
        names = (f.name for f in fields(self) if f.name not in ("model", "options"))
        return {name: getattr(self, name) for name in names}


DEFAULT = {
    "GMF": Setting(GMF),
    "MLP": Setting(MLP),
    "NeuMF": Setting(NeuMF),
    "CFNet-rl": Setting(CFNetRL),
    "CFNet-ml": Setting(CFNetML),
    "CFNet": Setting(CFNet),
    "ARL": Setting(ARL),
    "AML": Setting(AML),
    "DACR": Setting(DACR),
    "FISM": Setting(FISM),
    "NAIS": Setting(NAIS),
    "affection": Setting(Affection),
    "association": Setting(Association),
    "association, random scores": Setting(Association, {"scores": Scores()}),
    "DRNet": Setting(DRNet),
    "DRNet, random scores": Setting(DRNet, {"scores": Scores()}),
    "DELF": Setting(DELF),
    "DELF, random scores": Setting(DELF, {"scores": Scores()}),
    "BAMF, no random scores": Setting(BAMF, {"user_scores": Point()}),
    "BAMF": Setting(BAMF),
    "BAMF, both histories": Setting(BAMF, {"history": "both"}),
}

# The public implementations' training: hardly any decay, soon stopped. Their batches are of 256 pairs and
# their step is half; ours are four times as large.
TRAINING = {"learning_rate": 2e-3, "weight_decay": 1e-5, "patience": 5}
# Random on both sides, of given width, under the public implementation's effective objective.
BOTH = Scores(LogNormal(0.1), LogNormal(1.0), scope="interaction", prior_mean="contextual")
# With dot energy and pooled vectors alone, the best of the paper's follow-up.
BAYESIAN = {"strength": "user", "user_scores": BOTH, "item_scores": BOTH}
TEMPERED = {"kl_weight": 0.01, "kl_reduction": "mean"}
PUBLISHED = {
    "affection": Setting(Affection, {"dropout": 0.0}, **TRAINING),
    "association": Setting(Association, **TRAINING),
    "DRNet": Setting(DRNet, **TRAINING),
    "BAMF": Setting(BAMF, BAYESIAN, **TRAINING, **TEMPERED),
    "BAMF, both histories": Setting(BAMF, {**BAYESIAN, "history": "both"}, **TRAINING, **TEMPERED),
    "ARL": Setting(ARL, **TRAINING),
    "AML": Setting(AML, **TRAINING),
    "DACR": Setting(DACR, **TRAINING),
    "DELF": Setting(DELF, **TRAINING),
}
SETTINGS = {"default": DEFAULT, "published": PUBLISHED}
# Fitted at once, without Pyro.
BASELINES = {"popularity": br.Popularity, "SLIM": br.evaluation.SLIM}


def run(name: str, data: Interactions, seed: int, options: argparse.Namespace) -> dict:
    """Train and rank; all that the table needs, and the metrics of every user."""
    split = br.data.split(data, seed=seed)
    report = {"about": about(name, data, options)}
    started = time.perf_counter()
    if name in BASELINES:
        scorer = BASELINES[name](split)
        report |= {"parameters": 0, "seconds": time.perf_counter() - started, "epoch": 0}
    else:
        setting = SETTINGS[options.settings][name]
        torch.manual_seed(seed)
        scorer = setting.model(br.data.histories(split), **setting.options)
        fit = br.fit(
            scorer, split, **setting.training, negatives_exclude=options.negatives_exclude,
            max_epochs=options.epochs, seed=seed, progress=False,
        )  # fmt: skip
        if fit.stopped == "interrupted":  # a run cut short is no result
            raise KeyboardInterrupt
        report["parameters"] = sum(p.numel() for p in scorer.parameters())
        report["seconds"] = float(fit.history["seconds"].median())
        report["epoch"] = fit.best_epoch
        report["validation"] = float(fit.history["ndcg@10"].max())
        report["nll"] = float(br.predictive_nll(scorer, split, seed=seed).mean())
    for protocol in PROTOCOLS:
        per_user = br.evaluate(scorer, split, protocol=protocol, ks=(10,)).per_user
        report |= {f"{protocol} {metric}": per_user[metric].round(6).tolist() for metric in METRICS}
    return report


def about(name: str, data: Interactions, options: argparse.Namespace) -> str:
    """What a finished run must agree in to be taken for this one."""
    if name in BASELINES:
        return f"{data}, {name}"
    setting = SETTINGS[options.settings][name]
    return (
        f"{data}, {setting.model.__name__}, {setting.options}, {setting.training}, negatives outside {options.negatives_exclude}, "
        f"at most {options.epochs} epochs"
    )


def interval(of_seeds: list[list[float]], resamples: int = 2000) -> tuple[float, float, float]:
    """Mean over users and seeds, and its 95 % bootstrap interval: seeds are resampled, and within a
    seed its users."""
    rng = np.random.default_rng(0)
    means = np.array(
        [
            [np.mean(rng.choice(values, len(values))) for values in of_seeds]
            for _ in range(resamples)
        ]
    )
    chosen = rng.integers(len(of_seeds), size=means.shape)
    low, high = np.quantile(np.take_along_axis(means, chosen, axis=1).mean(1), [0.025, 0.975])
    return float(np.mean([np.mean(values) for values in of_seeds])), float(low), float(high)


def table(reports: dict[str, list[dict]]) -> pd.DataFrame:
    """One row a model; means over seeds."""
    rows = []
    for name, runs in reports.items():
        row = {"model": name, "seeds": len(runs), "parameters": runs[0]["parameters"]}
        row["seconds"] = np.median([one["seconds"] for one in runs])
        row["epoch"] = np.mean([one["epoch"] for one in runs])
        for column in (f"{p} {m}" for p in PROTOCOLS for m in METRICS):
            mean, low, high = interval([one[column] for one in runs])
            row |= {column: mean, f"{column} low": low, f"{column} high": high}
        row["nll"] = np.mean([one.get("nll", np.nan) for one in runs])
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame) -> str:
    titles = {f"{p} {m}": f"{m.upper()}, {p}" for p in PROTOCOLS for m in METRICS}
    head = ["model", *titles.values(), "test NLL", "parameters", "s an epoch", "kept epoch"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in frame.to_dict("records"):
        cells = [f"{row[c]:.3f} [{row[f'{c} low']:.3f}, {row[f'{c} high']:.3f}]" for c in titles]
        trained = row["model"] not in BASELINES
        cells.append(f"{row['nll']:.3f}" if trained else "")
        cells.append(f"{row['parameters']:,}" if trained else "")
        cells.append(f"{row['seconds']:.1f}" if trained else f"{row['seconds']:.1f} in all")
        cells.append(f"{row['epoch']:.0f}" if trained else "")
        lines.append(f"| {row['model']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--data", default="100k", help=f"{', '.join(DATASETS)}, a ratings file or folder")
    add("--user", help="name of the user column of a ratings file")
    add("--item", help="name of the item column of a ratings file")
    add("--columns", nargs="+", help="names of all columns of a ratings file without header")
    add("--min-rating", type=float, help="leave out ratings below (default: all are positives)")
    add("--settings", choices=SETTINGS, default="default", help="of models and their training")
    add("--models", nargs="+", help="names; default: all of the settings, and the baselines")
    add("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    add("--epochs", type=int, default=100, help="at most (default: 100)")
    add(
        "--negatives-exclude",
        choices=("train", "all"),
        default="train",
        help="'all' never draws held-out positives as negatives: a leak, for comparison only",
    )
    add("--out", type=Path, default=Path("runs/comparison"), help="folder for what is written")
    add("--smoke", action="store_true", help="one seed and two epochs of a toy data set instead")
    options = parser.parse_args(arguments)
    known = {**BASELINES, **SETTINGS[options.settings]}
    options.models = list(dict.fromkeys(options.models or known))
    unknown = [name for name in options.models if name not in known]
    if unknown:
        parser.error(f"--models: no {unknown[0]!r} among {', '.join(map(repr, known))}")
    if min(options.seeds, options.epochs) < 1:
        parser.error("--seeds and --epochs must be at least 1")
    if options.smoke:
        options.seeds, options.epochs, options.out = 1, 2, options.out / "smoke"
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.smoke:
        data = br.data.synthetic(n_users=60, n_items=80, length=(10, 20)).interactions
    else:
        data = br.data.load(
            options.data,
            user=options.user,
            item=options.item,
            columns=options.columns,
            min_rating=options.min_rating,
        )
    print(data)
    options.out.mkdir(parents=True, exist_ok=True)
    reports: dict[str, list[dict]] = {}
    for seed in range(options.seeds):
        for name in options.models:
            path = options.out / f"{name.replace(',', '').replace(' ', '-')}-{seed}.json"
            if not path.exists():
                scratch = path.with_suffix(".part")
                scratch.write_text(json.dumps(run(name, data, seed, options)))
                os.replace(scratch, path)
            try:
                report = json.loads(path.read_text())
            except json.JSONDecodeError:
                sys.exit(f"error: {path} is no finished run; delete it")
            if report["about"] != about(name, data, options):
                sys.exit(
                    f"error: {path} is of another run ({report['about']}); choose another --out"
                )
            reports.setdefault(name, []).append(report)
            full, sampled = (np.mean(report[f"{p} ndcg@10"]) for p in PROTOCOLS)
            print(
                f"{name}, seed {seed}: NDCG@10 {full:.3f} full, {sampled:.3f} sampled", flush=True
            )
    frame = table(reports)
    frame.to_csv(options.out / "comparison.csv", index=False)
    (options.out / "comparison.md").write_text(markdown(frame) + "\n")
    print(f"\n{markdown(frame)}\n")
    if options.negatives_exclude == "all" and set(options.models) - set(BASELINES):
        print("Held-out items were never drawn as negatives: a leak. Not comparable with others.\n")
    print(f"Written to {options.out}: comparison.csv, comparison.md")


if __name__ == "__main__":
    try:
        main()
    except (DataError, ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished runs are kept; the same command goes on from there")
