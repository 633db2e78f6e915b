"""What uncertainty is worth: probabilities, and serving only the users a model is sure of.

    python benchmarks/uncertainty.py --data latest-small --out runs/uncertainty \\
        --figure docs/uncertainty.png

Trains BAMF with random scores; its deterministic twin five times from different initial weights, a deep
ensemble of which the first is the twin; and the twin with dropout, which goes on when it predicts. Split
and training are the same, those of examples/settings.py for BAMF with random scores. Writes the models, and
what is measured of each seed (skips what is there, so that it can be stopped and resumed), and prints
Markdown tables: means over users and seeds with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from settings import TUNED

import bayes_recsys as br
from bayes_recsys.evaluation import (
    Evaluation,
    aurc,
    balanced,
    brier,
    calibration_error,
    calibration_floor,
    corrected,
    list_uncertainty,
    nll,
    predicted_pairs,
    recalibrated,
    reliability,
    risk_coverage,
)
from bayes_recsys.evaluation.plots import plot_reliability, plot_risk_coverage
from bayes_recsys.posterior.predictive import Predictive

MEMBERS, NEGATIVES, DROPOUT = 5, 4, 0.2
TWIN, FEWER = "no random scores", f"random scores, {MEMBERS} draws"
TRAINING = {"user": TUNED["BAMF"].training, "both": TUNED["BAMF, both histories"].training}
METRICS = {
    "ndcg@10": "NDCG@10, full",
    "nll": "NLL",
    "nll recalibrated": "NLL, recalibrated",
    "brier": "Brier score",
    "brier recalibrated": "Brier score, recalibrated",
    "nll of pairs": "NLL, all pairs alike",
    "nll of pairs recalibrated": "NLL, all pairs alike, recalibrated",
}
UNCERTAINTIES = ("spread", "disagreement", "doubt", "short history")


def predictives(split: br.data.Split, seed: int, options) -> dict[str, Predictive]:
    """Every one fitted to the same split with the same training."""

    def fitted(name: str, number: int = 0, **of_model) -> br.models.BAMF:
        folder = options.out / f"{name}-{seed}"
        if folder.exists():
            return br.load_model(folder)
        torch.manual_seed(seed + 1000 * number)
        model = br.models.BAMF(br.data.histories(split), history=options.history, **of_model)
        fit = br.fit(
            model, split, **TRAINING[options.history], seed=seed + 1000 * number,
            max_epochs=options.epochs, progress=False,
        )  # fmt: skip
        if fit.stopped == "interrupted":
            raise KeyboardInterrupt
        br.save_model(model, folder)
        return model

    random = fitted("random")
    twins = [fitted(f"twin{n}", n, user_scores=br.Point()) for n in range(MEMBERS)]
    dropping = fitted("dropout", user_scores=br.Point(), dropout=DROPOUT)
    return {
        "random scores": br.Posterior(random, seed=seed),
        FEWER: br.Posterior(random, draws=MEMBERS, seed=seed),
        TWIN: br.Posterior(twins[0], draws=1),
        f"ensemble of {MEMBERS}": br.DeepEnsemble(twins),
        "dropout": br.MCDropout(dropping, seed=seed),
    }


def report(predictive: Predictive, split: br.data.Split, seed: int) -> dict:
    """All that is measured, by user where it is of a user."""
    pairs, others = (
        predicted_pairs(predictive, split, part=part, negatives=NEGATIVES, seed=seed)
        for part in ("test", "validation")
    )
    mended = recalibrated(pairs, on=balanced(others))
    table = of_users(predictive, split).join(list_uncertainty(predictive, split))
    for name, some in {"": pairs, " recalibrated": mended}.items():
        table[f"nll{name}"], table[f"brier{name}"] = nll(some), brier(some)
    # With which the mean over users is that over pairs.
    weight = pairs["user"].value_counts()[table.index] * len(table) / len(pairs)
    table["nll of pairs"] = nll(pairs) * weight
    table["nll of pairs recalibrated"] = nll(recalibrated(pairs, on=others)) * weight
    alike = balanced(pairs)
    return {
        "per user": table.to_dict("list"),
        "calibration error": calibration_error(alike),
        "calibration floor": calibration_floor(alike),
        "calibration error recalibrated": calibration_error(balanced(mended)),
        "calibration error of pairs": calibration_error(pairs),
        "reliability": reliability(alike).to_dict("list"),
        "expected": expected_choices(predictive, split, seed),
    }


def of_users(scorer: br.evaluation.Scorer, split: br.data.Split) -> pd.DataFrame:
    """NDCG@10 over the catalogue, and minus the number of training items."""
    ranked = br.evaluate(scorer, split, ks=(10,)).per_user[["ndcg@10"]]
    lengths = pd.Series(split.items_by_user("train").lengths, split.interactions.user_ids)
    return ranked.assign(**{"short history": -lengths[ranked.index].astype(float)})


def expected_choices(
    predictive: Predictive, split: br.data.Split, seed: int, sample: int = 200
) -> dict[str, float]:
    """Test choices of all users together as predicted over their actual number, by the probabilities as
    they are and corrected for the sampled negatives, from a random sample of each user's candidates.

    The share of a user's choices that is in the test part, an eighth of that in training, is known.
    """
    known, train = split.items_by_user("train", "validation"), split.items_by_user("train").lengths
    raw = right = 0.0
    for user in split.items_by_user("test").lengths.nonzero()[:, 0].tolist():
        rng = np.random.default_rng([seed, user])
        fresh = np.setdiff1d(np.arange(split.interactions.n_items), known.row(user).numpy())
        item = torch.from_numpy(rng.choice(fresh, min(sample, len(fresh)), replace=False))
        logits = predictive.draw_logits(torch.tensor([user]), item[None])[:, 0].double()
        of_draws = logits.sigmoid().numpy()
        prevalence = train[user].item() / 8 / len(fresh)
        raw += of_draws.mean() * len(fresh)
        of_draws = corrected(of_draws, negatives=NEGATIVES, prevalence=prevalence)
        right += of_draws.mean() * len(fresh)
    return {"raw": raw / len(split.test), "corrected": right / len(split.test)}


def probabilities(reports: dict[str, list[dict]]) -> str:
    """What each predictive's lists and probabilities are worth, a Markdown table."""
    evaluations = {
        name: [Evaluation("full", "test", frame, pd.DataFrame()) for frame in users(runs)]
        for name, runs in reports.items()
    }
    lines = [f"|  | {' | '.join(reports)} |", "|---" * (1 + len(reports)) + "|"]
    for metric, title in METRICS.items():
        table = br.compare(evaluations, metric, against=TWIN).loc[list(reports)]
        means = [interval(r["mean"], r["low"], r["high"]) for _, r in table.iterrows()]
        apart = [
            interval(r["difference"], r["difference_low"], r["difference_high"], "+")
            + (" *" if r["p_holm"] < 0.05 else "")
            for _, r in table.iterrows()
        ]
        apart[list(reports).index(TWIN)] = ""
        lines += [f"| {title} | {' | '.join(means)} |"]
        lines += [f"| less {TWIN} | {' | '.join(apart)} |"]

    def mean(runs: list[dict], key: str) -> float:
        return float(np.mean([one[key] for one in runs]))

    errors, mended, of_pairs, expected = [], [], [], []
    for runs in reports.values():
        floor = mean(runs, "calibration floor")
        errors.append(f"{mean(runs, 'calibration error'):.4f} ({floor:.4f})")
        mended.append(f"{mean(runs, 'calibration error recalibrated'):.4f}")
        of_pairs.append(f"{mean(runs, 'calibration error of pairs'):.4f}")
        ratio = pd.DataFrame([one["expected"] for one in runs]).mean()
        expected.append(f"{ratio['corrected']:.2f} ({ratio['raw']:.0f})")
    lines += [f"| calibration error (if right) | {' | '.join(errors)} |"]
    lines += [f"| calibration error, recalibrated | {' | '.join(mended)} |"]
    lines += [f"| calibration error, all pairs alike | {' | '.join(of_pairs)} |"]
    return "\n".join([*lines, f"| expected choices, corrected (raw) | {' | '.join(expected)} |"])


def gains(reports: dict[str, list[dict]]) -> str:
    """What serving users in the order of an uncertainty gains, a Markdown table."""
    lines = [f"| gain by | {' | '.join(reports)} |", "|---" * (1 + len(reports)) + "|"]
    for column in UNCERTAINTIES:
        cells, inside = [column], [f"{column}, within tenths of history"]
        for runs in reports.values():
            frames = users(runs)
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


def users(runs: list[dict]) -> list[pd.DataFrame]:
    return [pd.DataFrame(one["per user"]) for one in runs]


def lengths(popularity: list[dict]) -> str:
    """How unequally the users of the first seed share the training items."""
    items = -users(popularity)[0]["short history"].sort_values()
    most = items[: len(items) // 10].sum() / items.sum()
    return (
        f"{len(items):,} users are tested; half of them have more than {items.median():.0f} training "
        f"items, the tenth with most has {most:.0%} of all"
    )


def interval(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def picture(reports: dict[str, list[dict]], path: Path) -> None:
    """Reliability and risk-coverage curves of the first seed, side by side."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    reports = {n: r for n, r in reports.items() if n != FEWER}
    plot_reliability({n: pd.DataFrame(r[0]["reliability"]) for n, r in reports.items()}, left)
    curves = {}
    for name, runs in reports.items():
        first = users(runs)[0]
        curves[f"{name}: doubt"] = risk_coverage(first["ndcg@10"], first["doubt"])
    first = users(next(iter(reports.values())))[0]
    for column in ("disagreement", "short history"):
        curves[f"random scores: {column}"] = risk_coverage(first["ndcg@10"], first[column])
    plot_risk_coverage(curves, right)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="latest-small")
    parser.add_argument("--history", choices=TRAINING, default="user")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/uncertainty"))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    if min(options.seeds, options.epochs) < 1:
        parser.error("--seeds and --epochs must be at least 1")
    options.out.mkdir(parents=True, exist_ok=True)
    data = br.data.load(options.data)
    about = (
        f"{data}, history {options.history}, {MEMBERS} members, dropout {DROPOUT}, {NEGATIVES} negatives, "
        f"{TRAINING[options.history]}, at most {options.epochs} epochs"
    )
    note = options.out / "about.txt"
    if note.exists() and note.read_text() != about:
        raise ValueError(f"{options.out} is of another study ({note}); choose another --out")
    note.write_text(about)
    reports: dict[str, list[dict]] = {}
    popularity = []
    for seed in range(options.seeds):
        path = options.out / f"{seed}.json"
        if not path.exists():
            split = br.data.split(data, seed=seed)
            done = {n: report(p, split, seed) for n, p in predictives(split, seed, options).items()}
            popular = of_users(br.baselines.Popularity(split), split)
            done["popularity"] = {"per user": popular.to_dict("list")}
            path.with_suffix(".part").write_text(json.dumps(done))
            os.replace(path.with_suffix(".part"), path)
        try:
            done = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is no finished seed; delete it") from error
        if "popularity" not in done:
            raise ValueError(f"{path} is of another study; choose another --out")
        popularity.append(done.pop("popularity"))
        for name, one in done.items():
            reports.setdefault(name, []).append(one)
        print(f"seed {seed} done", flush=True)
    print(
        f"\n{about}; {options.seeds} seed(s)\n{lengths(popularity)}\n\n{probabilities(reports)}\n"
    )
    print(gains(reports | {"popularity": popularity}))
    if options.figure:
        picture(reports, options.figure)


if __name__ == "__main__":
    try:
        main()
    except (br.data.DataError, ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: what is finished is kept; the same command goes on from there")
