"""Train the models of the package on the same split and rank the same test items with each.

    .venv/bin/python -m pip install -e ".[benchmarks]"
    .venv/bin/python examples/compare_models.py --smoke
    .venv/bin/python examples/compare_models.py --data latest-small --out runs/comparison

Writes into the output folder one file a run (runs that are there are not repeated, so that it can be
stopped and resumed, or split by --models and put together by a last run without), and comparison.csv,
comparison.md and comparison.png: means over users and seeds with 95 % intervals, and paired
differences from one of them (--against). A seed decides split, initial weights, negatives and draws; the
splits are written too, for other software to score the same cases.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ratings import add_ratings, load_ratings
from settings import BASELINES, SETTINGS

import bayes_recsys as br
from bayes_recsys.data import DataError, DataWarning, Interactions, Split
from bayes_recsys.evaluation import Evaluation, brier, calibration_error, nll, predicted_pairs
from bayes_recsys.evaluation.plots import plot_comparison

PROTOCOLS = ("full", "sampled")
SPLITS = ("random", "leave-one-out", "timeline")
SHOWN = "ndcg@10"


def held_out(data: Interactions, kind: str, seed: int) -> Split:
    """The split of a seed; that in time is the same for all."""
    if kind == "timeline":
        return br.data.timeline(data)
    if kind == "leave-one-out":
        return br.data.leave_one_out(data, seed=seed)
    return br.data.split(data, seed=seed)


def run(name: str, split: Split, seed: int, options: argparse.Namespace) -> dict:
    """Train and rank; all that the table needs, and the metrics of every user."""
    report = {"about": about(name, split.interactions, options)}
    started = time.perf_counter()
    if name in BASELINES:
        baseline = BASELINES[name]
        seeded = {"seed": seed} if baseline.seeded else {}
        scorer = baseline.scorer(split, **baseline.options, **seeded)
        report["seconds"] = time.perf_counter() - started
    else:
        setting = SETTINGS[options.settings][name]
        torch.manual_seed(seed)
        scorer = setting.model(br.data.histories(split), **setting.options)
        with warnings.catch_warnings():
            # What scores learned is another study's question, and two epochs teach little.
            warnings.simplefilter("ignore", br.inference.CollapseWarning)
            fit = br.fit(
                scorer, split, **setting.training, negatives_exclude=options.negatives_exclude,
                max_epochs=options.epochs, seed=seed, progress=False,
            )  # fmt: skip
        if fit.stopped == "interrupted":  # a run cut short is no result
            raise KeyboardInterrupt
        report["parameters"] = sum(p.numel() for p in scorer.parameters())
        report["seconds"] = float(fit.history["seconds"].median())
        report["epoch"] = fit.best_epoch
        pairs = predicted_pairs(br.Posterior(scorer, seed=seed), split, seed=seed)
        report["probability"] = {"nll": rounded(nll(pairs)), "brier": rounded(brier(pairs))}
        report["calibration error"] = calibration_error(pairs)
    # There, fit has drawn the 99 items for stopping by the same seed.
    drawn = seed + 1000 if options.split == "leave-one-out" else seed
    for protocol in PROTOCOLS:
        evaluation = br.evaluate(scorer, split, protocol=protocol, ks=(10,), seed=drawn)
        report[protocol] = {metric: rounded(v) for metric, v in evaluation.per_user.items()}
        if protocol == "full":
            report["catalogue"] = evaluation.catalogue.loc[10].to_dict()
    return report


def rounded(values: pd.Series) -> list[float]:
    return values.round(6).tolist()


def about(name: str, data: Interactions, options: argparse.Namespace) -> str:
    """What a finished run must agree in to be taken for this one."""
    if name in BASELINES:
        return f"{data}, {options.split} split, {name}, {BASELINES[name].options}"
    setting = SETTINGS[options.settings][name]
    return (
        f"{data}, {options.split} split, {setting.model.__name__}, {setting.options}, "
        f"{setting.training}, negatives outside {options.negatives_exclude}, at most "
        f"{options.epochs} epochs"
    )


def evaluations(reports: dict[str, list[dict]], kind: str) -> dict[str, list[Evaluation]]:
    """What was measured of every user, of those models that have it."""
    return {
        name: [Evaluation(kind, "test", pd.DataFrame(one[kind]), pd.DataFrame()) for one in runs]
        for name, runs in reports.items()
        if kind in runs[0]
    }


def table(reports: dict[str, list[dict]], against: str) -> pd.DataFrame:
    """One row a model, in the order of the reports; means over seeds. Probabilities, which no baseline
    has, are compared with the first model that has them, unless ``against`` does."""
    parts = []
    for kind in (*PROTOCOLS, "probability"):
        of_kind = evaluations(reports, kind)
        if not of_kind:
            continue
        reference = against if against in of_kind else next(iter(of_kind))
        for metric in next(iter(of_kind.values()))[0].per_user:
            compared = br.compare(of_kind, metric, against=reference).reindex(list(reports))
            parts.append(compared.rename(columns=lambda c, m=f"{kind} {metric}": f"{m} {c}"))
    rows = {
        name: {
            "seeds": len(runs),
            **{c: np.mean([one["catalogue"][c] for one in runs]) for c in ("coverage", "gini")},
            "calibration error": np.mean([one.get("calibration error", np.nan) for one in runs]),
            "parameters": runs[0].get("parameters", np.nan),
            "seconds": np.median([one["seconds"] for one in runs]),
            "epoch": np.mean([one.get("epoch", np.nan) for one in runs]),
        }
        for name, runs in reports.items()
    }
    return pd.concat([*parts, pd.DataFrame.from_dict(rows, orient="index")], axis=1)


def cell(row: pd.Series, columns: list[str], sign: str = "") -> str:
    mean, low, high = (f"{row[column]:{sign}.3f}" for column in columns)
    return f"{mean} [{low}, {high}]"


def markdown(frame: pd.DataFrame, against: str) -> str:
    full, sampled = ([f"{p} {SHOWN} {c}" for c in ("mean", "low", "high")] for p in PROTOCOLS)
    apart = [f"full {SHOWN} difference{of}" for of in ("", "_low", "_high")]
    head = [
        "model", "NDCG@10, full", f"less {against}", "NDCG@10, 1:99", "novelty", "coverage",
        "test NLL", "calibration error", "parameters", "seconds", "kept epoch",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in frame.iterrows():
        difference = ""
        if name != against:
            difference = cell(row, apart, "+")
            difference += " *" if row[f"full {SHOWN} p_holm"] < 0.05 else ""
        cells = [
            name,
            cell(row, full),
            difference,
            cell(row, sampled),
            f"{row['full novelty@10 mean']:.2f}",
            f"{row['coverage']:.3f}",
        ]
        if name in BASELINES:
            cells += ["", "", "", f"{row['seconds']:.2f} in all", ""]
        else:
            cells += [
                cell(row, [f"probability nll {c}" for c in ("mean", "low", "high")]),
                f"{row['calibration error']:.3f}",
                f"{row['parameters']:,.0f}",
                f"{row['seconds']:.1f} an epoch",
                f"{row['epoch']:.0f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add_ratings(parser)
    add("--split", choices=SPLITS, default="random", help="8:1:1 of each user, or by time")
    add("--settings", choices=SETTINGS, default="tuned", help="of models and their training")
    add("--models", nargs="+", help="names; default: all of the settings, and the baselines")
    add("--seeds", type=int, default=5, help="number of seeds (default: 5)")
    add(
        "--against",
        help="what the others are compared with (default: EASE, or the first of --models)",
    )
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
    if options.against is None:
        options.against = "EASE" if "EASE" in options.models else options.models[0]
    if options.against not in options.models:
        parser.error(f"--against: {options.against!r} is not among the models")
    if min(options.seeds, options.epochs) < 1:
        parser.error("--seeds and --epochs must be at least 1")
    if options.smoke:
        options.seeds, options.epochs, options.out = 1, 2, options.out / "smoke"
    return options


def finished(path: Path, name: str, data: Interactions, options: argparse.Namespace) -> dict:
    """The report of a run that is there.

    Raises:
        ValueError: It is of another run, or not readable.
    """
    try:
        report = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no finished run; delete it") from error
    if not isinstance(report, dict) or "about" not in report:
        raise ValueError(f"{path} is no run of this script; delete it")
    if report["about"] != about(name, data, options):
        raise ValueError(f"{path} is of another run ({report['about']}); choose another --out")
    return report


def keep_split(split: Split, path: Path) -> None:
    """Write the split, or see that the one that is there is the same.

    Raises:
        ValueError: It is another.
    """
    if path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # a timeline leaves rows out
            there = br.data.load_split(split.interactions, path)
        for part in ("train", "validation", "test", "leave_one_out"):
            if not np.array_equal(np.sort(getattr(there, part)), np.sort(getattr(split, part))):
                raise ValueError(f"{path} is another split; choose another --out")
    else:
        br.data.save_split(split, path)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.smoke:
        data = br.data.synthetic(n_users=60, n_items=80, length=(10, 20)).interactions
    else:
        data = load_ratings(options)
    print(data)
    options.out.mkdir(parents=True, exist_ok=True)
    reports: dict[str, list[dict]] = {}
    for seed in range(options.seeds):
        split = held_out(data, options.split, seed)
        keep_split(split, options.out / f"split-{seed}.csv")
        for name in options.models:
            path = options.out / f"{name.replace(',', '').replace(' ', '-')}-{seed}.json"
            if not path.exists():
                scratch = path.with_suffix(".part")
                scratch.write_text(json.dumps(run(name, split, seed, options)))
                os.replace(scratch, path)
            report = finished(path, name, data, options)
            reports.setdefault(name, []).append(report)
            full, sampled = (np.mean(report[protocol][SHOWN]) for protocol in PROTOCOLS)
            print(f"{name}, seed {seed}: {SHOWN} {full:.3f} full, {sampled:.3f} 1:99", flush=True)
    against = options.against
    frame = table(reports, against).sort_values(f"full {SHOWN} mean", ascending=False)
    frame.to_csv(options.out / "comparison.csv", index_label="model")
    text = markdown(frame, against)
    (options.out / "comparison.md").write_text(text + "\n")
    compared = br.compare(evaluations(reports, "full"), SHOWN, against=against)
    title = f"NDCG@10, full, {data.name}"
    plot_comparison(compared, metric=title).savefig(options.out / "comparison.png", dpi=150)
    print(f"\n{text}\n\n*: significant after adjustment for their number (Holm), p < 0.05\n")
    if options.negatives_exclude == "all" and set(options.models) - set(BASELINES):
        print("Held-out items were never drawn as negatives: a leak. Not comparable with others.\n")
    print(f"Written to {options.out}: comparison.csv, comparison.md, comparison.png")


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        sys.exit(f'error: {error}; install the rest with pip install -e ".[benchmarks]"')
    except (DataError, ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished runs are kept; the same command goes on from there")
