"""What uncertainty is worth: probabilities, and serving only the users a model is sure of.

    python benchmarks/uncertainty.py --data latest-small --out runs/uncertainty \\
        --figure docs/uncertainty.png

Trains a model with random scores; its deterministic twin five times from different initial weights, a deep
ensemble of which the first is the twin; and the twin with dropout, if it has any, which goes on when it predicts.
Split and training are the same, those of bayes_recsys/experiments/settings.py for the model.
Writes the models, and what is measured of each seed (skips what is there, so that it can be stopped and
resumed), and prints Markdown tables: means over users and seeds with 95 % intervals.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bayes_recsys as br
from bayes_recsys.evaluation import aurc, risk_coverage
from bayes_recsys.evaluation.plots import plot_reliability, plot_risk_coverage
from bayes_recsys.experiments import TUNED
from bayes_recsys.experiments.uncertainty import (
    DROPOUT,
    NEGATIVES,
    POPULARITY,
    RANDOM,
    TWIN,
    Measured,
    Study,
)
from bayes_recsys.records import read_json, write_json

WAYS = {name: TUNED[name] for name in ("BAMF", "BAMF, both histories", "item similarity")}
METRICS = {
    "ndcg@10": "NDCG@10, full",
    "nll": "NLL",
    "nll recalibrated": "NLL, recalibrated",
    "nll with levels": "NLL, with levels",
    "brier": "Brier score",
    "brier recalibrated": "Brier score, recalibrated",
    "brier with levels": "Brier score, with levels",
    "nll of pairs": "NLL, all pairs alike",
    "nll of pairs recalibrated": "NLL, all pairs alike, recalibrated",
    "nll of pairs with levels": "NLL, all pairs alike, with levels",
}
ERRORS = {
    "": "calibration error (if right)",
    " recalibrated": "calibration error, recalibrated",
    " with levels": "calibration error, with levels (if right)",
    " of pairs": "calibration error, all pairs alike",
}
UNCERTAINTIES = ("spread", "disagreement", "doubt", "doubt, with levels", "short history")


def probabilities(reports: dict[str, list[Measured]]) -> str:
    """What each predictive's lists and probabilities are worth, a Markdown table."""
    evaluations = {name: [one.of_users for one in runs] for name, runs in reports.items()}
    lines = [f"|  | {' | '.join(reports)} |", "|---" * (1 + len(reports)) + "|"]
    of_first = next(iter(evaluations.values()))[0].per_user
    ensemble = next(name for name in reports if name.startswith("ensemble"))
    for metric, title in METRICS.items():
        if metric not in of_first:
            continue
        for against in (TWIN, ensemble):
            table = br.compare(evaluations, metric, against=against).loc[list(reports)]
            if against == TWIN:
                means = [interval(r["mean"], r["low"], r["high"]) for _, r in table.iterrows()]
                lines.append(f"| {title} | {' | '.join(means)} |")
            apart = [
                interval(r["difference"], r["difference_low"], r["difference_high"], "+")
                + (" *" if r["p_holm"] < 0.05 else "")
                for _, r in table.iterrows()
            ]
            apart[list(reports).index(against)] = ""
            lines.append(f"| less {against} | {' | '.join(apart)} |")

    def mean(runs: list[Measured], key: str) -> float:
        return float(np.mean([one.figures[key] for one in runs]))

    for kind, title in ERRORS.items():
        if f"calibration error{kind}" in next(iter(reports.values()))[0].figures:
            cells = [f"{mean(runs, f'calibration error{kind}'):.4f}" for runs in reports.values()]
            if kind in ("", " with levels"):
                floors = [mean(runs, f"calibration floor{kind}") for runs in reports.values()]
                cells = [f"{one} ({floor:.4f})" for one, floor in zip(cells, floors, strict=True)]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    if "nll" in of_first:
        ratios = [
            pd.DataFrame([one.figures["expected"] for one in runs]).mean()
            for runs in reports.values()
        ]
        expected = [f"{ratio['corrected']:.2f} ({ratio['raw']:.0f})" for ratio in ratios]
        lines.append(f"| expected choices, corrected (raw) | {' | '.join(expected)} |")
    return "\n".join(lines)


def gains(reports: dict[str, list[Measured]]) -> str:
    """What serving users in the order of an uncertainty gains, a Markdown table."""
    lines = [f"| gain by | {' | '.join(reports)} |", "|---" * (1 + len(reports)) + "|"]
    for column in UNCERTAINTIES:
        cells, inside = [column], [f"{column}, within tenths of history"]
        for runs in reports.values():
            frames = [one.per_user for one in runs]
            if column not in frames[0] or frames[0][column].nunique() == 1:
                cells.append("none")
                inside.append("none")
                continue
            quality, unsure = ([one[c] for one in frames] for c in ("ndcg@10", column))
            tenths = [
                pd.qcut(one["short history"], 10, labels=False, duplicates="drop") for one in frames
            ]
            cells.append(interval(*aurc(quality, unsure)[["gain", "low", "high"]]))
            within = aurc(quality, unsure, groups=tenths)
            inside.append(interval(*within[["gain", "low", "high"]]))
        lines += [f"| {' | '.join(cells)} |", f"| {' | '.join(inside)} |"]
    return "\n".join(lines)


def lengths(popularity: Measured) -> str:
    """How unequally the users of a seed share the training items."""
    items = -popularity.per_user["short history"].sort_values()
    most = items[: len(items) // 10].sum() / items.sum()
    return (
        f"{len(items):,} users are tested; half of them have more than {items.median():.0f} training "
        f"items, the tenth with most has {most:.0%} of all"
    )


def interval(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def picture(reports: dict[str, Measured], path: Path) -> None:
    """Reliability and risk-coverage curves of a seed, side by side."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    has_own = all("reliability" in one.figures for one in reports.values())
    kind, doubt = ("", "doubt") if has_own else (" with levels", "doubt, with levels")
    shown = {n: pd.DataFrame(r.figures[f"reliability{kind}"]) for n, r in reports.items()}
    plot_reliability(shown, left)
    curves = {}
    for name, one in reports.items():
        of_users = one.per_user
        curves[f"{name}: {doubt}"] = risk_coverage(of_users["ndcg@10"], of_users[doubt])
    first = reports[RANDOM].per_user
    for column in ("disagreement", "short history"):
        curves[f"{RANDOM}: {column}"] = risk_coverage(first["ndcg@10"], first[column])
    plot_risk_coverage(curves, right)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", default="latest-small", help="name of a data set, ratings file or folder")
    add("--model", choices=WAYS, default="BAMF", help="with random scores (default: %(default)s)")
    add("--seeds", type=int, default=5)
    add("--epochs", type=int, default=100, help="at most")
    add("--members", type=int, default=5, help="of the ensemble")
    add("--ablations", action="store_true", help="also what else could be the reason")
    add("--out", type=Path, default=Path("runs/uncertainty"), help="folder for what is written")
    add("--figure", type=Path, help="where to draw the first seed")
    options = parser.parse_args(arguments)
    if min(options.seeds, options.epochs) < 1 or options.members < 2:
        parser.error("--seeds and --epochs must be at least 1, --members at least 2")
    data, way = br.data.load(options.data), WAYS[options.model]
    way = replace(way, training=replace(way.training, max_epochs=options.epochs))
    about = (
        f"{data}, {options.model}, {options.members} members, dropout {DROPOUT}, {NEGATIVES} "
        f"negatives, at most {options.epochs} epochs{', ablations' if options.ablations else ''}"
    )
    note, record = options.out / "about.json", {"about": about, **way.record()}
    if note.exists() and read_json(note) != record:
        raise ValueError(f"{options.out} is of another study ({note}); choose another --out")
    write_json(record, note)
    study = Study(way, options.members, options.out, options.ablations)
    reports: dict[str, list[Measured]] = {}
    for seed in range(options.seeds):
        for name, one in study.measured(data, seed).items():
            reports.setdefault(name, []).append(one)
        print(f"seed {seed} done", flush=True)
    popularity = reports.pop(POPULARITY)
    print(f"\n{about}; {options.seeds} seed(s)\n{lengths(popularity[0])}\n")
    print(f"{probabilities(reports)}\n")
    print(gains(reports | {POPULARITY: popularity}))
    if options.figure:
        fewer = f"{RANDOM}, {options.members} draws"
        picture({n: runs[0] for n, runs in reports.items() if n != fewer}, options.figure)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: what is finished is kept; the same command goes on from there")
