"""What uncertainty is worth: probabilities, and serving only the users a model is sure of.

    python benchmarks/uncertainty.py --data latest-small --out runs/uncertainty \\
        --figure docs/uncertainty.png

Trains BAMF with random scores; its deterministic twin five times from different initial weights, a deep
ensemble of which the first is the twin; and the twin with dropout, which goes on when it predicts. Split
and training are the same, those of examples/settings.py for BAMF with random scores. Writes one file a
seed (skips those that are there, so that it can be stopped and resumed), and prints Markdown tables: means
over users and seeds with 95 % bootstrap intervals.
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
    brier,
    calibration_error,
    calibration_floor,
    corrected,
    list_uncertainty,
    nll,
    predicted_pairs,
    reliability,
    risk_coverage,
)
from bayes_recsys.evaluation.plots import plot_reliability, plot_risk_coverage
from bayes_recsys.predictive import Predictive

MEMBERS, NEGATIVES, DROPOUT = 5, 4, 0.2
TWIN = "no random scores"
TRAINING = {"user": TUNED["BAMF"].training, "both": TUNED["BAMF, both histories"].training}
UNCERTAINTIES = ("spread", "disagreement", "doubt", "short history")


def predictives(split: br.data.Split, seed: int, options) -> dict[str, Predictive]:
    """Every one fitted to the same split with the same training."""

    def fitted(number: int = 0, **of_model) -> br.models.BAMF:
        torch.manual_seed(seed + 1000 * number)
        model = br.models.BAMF(br.data.histories(split), history=options.history, **of_model)
        fit = br.fit(
            model, split, **TRAINING[options.history], seed=seed + 1000 * number,
            max_epochs=options.epochs, progress=False,
        )  # fmt: skip
        if fit.stopped == "interrupted":
            raise KeyboardInterrupt
        return model

    twins = [fitted(number, user_scores=br.Point()) for number in range(MEMBERS)]
    return {
        "random scores": br.Posterior(fitted(), seed=seed),
        TWIN: br.Posterior(twins[0], draws=1),
        f"ensemble of {MEMBERS}": br.DeepEnsemble(twins),
        "dropout": br.MCDropout(fitted(user_scores=br.Point(), dropout=DROPOUT), seed=seed),
    }


def report(predictive: Predictive, split: br.data.Split, seed: int) -> dict:
    """All that is measured, by user where it is of a user."""
    pairs = predicted_pairs(predictive, split, negatives=NEGATIVES, seed=seed)
    table = list_uncertainty(predictive, split)
    lengths = split.items_by_user("train").lengths.numpy()
    of_user = dict(zip(split.interactions.user_ids, lengths, strict=True))
    table["short history"] = [-float(of_user[user]) for user in table.index]
    table["nll"] = nll(pairs)
    table["brier"] = brier(pairs)
    table["ndcg@10"] = br.evaluate(predictive, split, ks=(10,)).per_user["ndcg@10"]
    raw, right, actual = expected_choices(predictive, split, seed)
    return {
        "per user": table.to_dict("list"),
        "calibration error": calibration_error(pairs),
        "calibration floor": calibration_floor(pairs),
        "reliability": reliability(pairs).to_dict("list"),
        "expected over actual": {"raw": raw / actual, "corrected": right / actual},
    }


def expected_choices(
    predictive: Predictive, split: br.data.Split, seed: int, sample: int = 200
) -> tuple[float, float, float]:
    """Test choices of all users together as predicted, by the probabilities as they are and corrected
    for the sampled negatives, from a random sample of each user's candidates; and the actual number.

    The share of a user's choices that is in the test part, an eighth of that in training, is known.
    """
    known, train = split.items_by_user("train", "validation"), split.items_by_user("train").lengths
    raw = right = 0.0
    for user in split.items_by_user("test").lengths.nonzero()[:, 0].tolist():
        rng = np.random.default_rng([seed, user])
        fresh = np.setdiff1d(np.arange(split.interactions.n_items), known.row(user).numpy())
        item = torch.from_numpy(rng.choice(fresh, min(sample, len(fresh)), replace=False))
        logits = predictive.draw_logits(torch.tensor([user]), item[None])[:, 0].double()
        probability = logits.sigmoid().mean(0).numpy()
        prevalence = train[user].item() / 8 / len(fresh)
        raw += probability.mean() * len(fresh)
        right += corrected(probability, negatives=NEGATIVES, prevalence=prevalence).mean() * len(
            fresh
        )
    return raw, right, len(split.test)


def tables(reports: dict[str, list[dict]]) -> str:
    users = {
        name: [pd.DataFrame(one["per user"]) for one in runs] for name, runs in reports.items()
    }
    of_users = {
        name: [Evaluation("full", "test", frame, pd.DataFrame()) for frame in frames]
        for name, frames in users.items()
    }
    metrics = {"ndcg@10": "NDCG@10, full", "nll": "NLL", "brier": "Brier score"}
    compared = {metric: br.compare(of_users, metric, against=TWIN) for metric in metrics}
    heads = [h for title in metrics.values() for h in (title, f"less {TWIN}")]
    lines = [
        f"| {' | '.join(['', *heads, 'calibration error (if right)', 'expected choices, corrected (raw)'])} |"
    ]
    lines.append("|---" * (len(heads) + 3) + "|")
    for name, runs in reports.items():
        cells = [name]
        for table in compared.values():
            row = table.loc[name]
            cells.append(interval(row["mean"], row["low"], row["high"]))
            star = " *" if row["p_holm"] < 0.05 else ""
            apart = (row[f"difference{of}"] for of in ("", "_low", "_high"))
            cells.append("" if name == TWIN else interval(*apart, sign="+") + star)
        error, floor = (
            np.mean([one[f"calibration {of}"] for one in runs]) for of in ("error", "floor")
        )
        cells.append(f"{error:.4f} ({floor:.4f})")
        ratio = pd.DataFrame([one["expected over actual"] for one in runs]).mean()
        cells.append(f"{ratio['corrected']:.2f} ({ratio['raw']:.0f})")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"| gain by | {' | '.join(reports)} |", "|---" * (1 + len(reports)) + "|"]
    for column in UNCERTAINTIES:
        cells = [column]
        for frames in users.values():
            gains = aurc([one["ndcg@10"] for one in frames], [one[column] for one in frames])
            informed = frames[0][column].nunique() > 1
            cells.append(interval(*gains[["gain", "low", "high"]]) if informed else "none")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def picture(reports: dict[str, list[dict]], path: Path) -> None:
    """Reliability and risk-coverage curves of the first seed, side by side."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_reliability({n: pd.DataFrame(r[0]["reliability"]) for n, r in reports.items()}, left)
    curves = {}
    for name, runs in reports.items():
        users = pd.DataFrame(runs[0]["per user"])
        curves[f"{name}: doubt"] = risk_coverage(users["ndcg@10"], users["doubt"])
    users = pd.DataFrame(next(iter(reports.values()))[0]["per user"])
    for column in ("disagreement", "short history"):
        curves[f"random scores: {column}"] = risk_coverage(users["ndcg@10"], users[column])
    plot_risk_coverage(curves, right)
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="latest-small")
    parser.add_argument("--history", choices=TRAINING, default="user")
    parser.add_argument("--seeds", type=int, default=3)
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
    reports: dict[str, list[dict]] = {}
    for seed in range(options.seeds):
        path = options.out / f"{seed}.json"
        if not path.exists():
            split = br.data.split(data, seed=seed)
            done = {"about": about} | {
                n: report(p, split, seed) for n, p in predictives(split, seed, options).items()
            }
            path.with_suffix(".part").write_text(json.dumps(done))
            os.replace(path.with_suffix(".part"), path)
        try:
            done = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is no finished seed; delete it") from error
        if done.pop("about", None) != about:
            raise ValueError(f"{path} is of another study; choose another --out")
        for name, one in done.items():
            reports.setdefault(name, []).append(one)
        print(f"seed {seed} done", flush=True)
    print(f"\n{about}; {options.seeds} seed(s)\n\n{tables(reports)}")
    if options.figure:
        picture(reports, options.figure)


if __name__ == "__main__":
    try:
        main()
    except (br.data.DataError, ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished seeds are kept; the same command goes on from there")
