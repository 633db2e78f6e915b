"""What families and formulations of the scores are worth on real data.

    python benchmarks/scores.py families --out runs/families
    python benchmarks/scores.py formulations --out runs/formulations --figure docs/formulations.png

Trains BAMF for every row and seed, everything else the same; writes one file a run, skips those
that are there (so it can be stopped, resumed, or run twice side by side), and prints a Markdown table:
mean over seeds ± standard deviation. A seed decides split, initial weights, negatives and draws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import bayes_recsys as br
from bayes_recsys.scores.families import Gamma, LogNormal, Point, Weibull
from bayes_recsys.scores.spec import Scores

PUBLISHED = Scores(LogNormal(0.1), LogNormal(1.0), scope="interaction", prior_mean="contextual")
OF_EACH_PAIR = Scores(LogNormal("learned"), LogNormal(1.0), scope="interaction")
BOTH_SIDES = {"item_scores": PUBLISHED, "user_scores": PUBLISHED, "strength": "user"}
TEMPERED = {"kl_weight": 0.01, "kl_reduction": "mean"}

# Name of a row: options of the model, options of fit.
FAMILY_ROWS = {
    "Point": ({"user_scores": Point()}, {}),
    **{
        f"{guide.__name__} guide, {prior.__name__} prior": (
            {"user_scores": Scores(guide("learned"), prior(1.0))},
            {},
        )
        for guide in (LogNormal, Gamma, Weibull)
        for prior in (LogNormal, Gamma, Weibull)
    },
    "published, tempered": (BOTH_SIDES, TEMPERED),
}
FORMULATION_ROWS = {
    "published": (BOTH_SIDES, {}),
    "published, tempered": (BOTH_SIDES, TEMPERED),
    "interaction, learned width": (
        {**BOTH_SIDES, "user_scores": OF_EACH_PAIR, "item_scores": OF_EACH_PAIR},
        {},
    ),
    "user, width 0.1": ({"user_scores": Scores(LogNormal(0.1)), "strength": "user"}, {}),
    "user, learned width": ({"strength": "user"}, {}),
    "default: strength both": ({}, {}),
    "default, amortised width": ({"user_scores": Scores(LogNormal("amortised"))}, {}),
    "default, separate values": ({"values": "separate"}, {}),
    "default, prior sd 2": ({"user_scores": Scores(prior=LogNormal(2.0))}, {}),
    "default, contextual prior": ({"user_scores": Scores(prior_mean="contextual")}, {}),
    "default, combine sum": ({"combine": "sum"}, {}),
    "default, learned prior": (
        {"user_scores": Scores(prior=LogNormal("learned"), prior_mean="learned")},
        {},
    ),
    "Point": ({"user_scores": Point()}, {}),
}
STUDIES = {"families": FAMILY_ROWS, "formulations": FORMULATION_ROWS}
COLUMNS = {
    "full": "NDCG@10 full",
    "sampled": "NDCG@10 1:99",
    "nll": "test NLL",
    "kl": "KL a pair",
    "contraction": "contraction",
    "spread": "spread",
    "effective": "even attention: posterior",
    "prior_effective": "prior",
    "epochs": "kept epoch",
    "seconds": "s an epoch",
}


def run(interactions: br.data.Interactions, seed: int, model_options, fit_options, epochs) -> dict:
    split = br.data.split(interactions, seed=seed)
    histories = br.data.histories(split)
    torch.manual_seed(seed)
    model = br.models.BAMF(histories, **model_options)
    fit = br.fit(model, split, seed=seed, max_epochs=epochs, progress=False, **fit_options)
    if fit.stopped == "interrupted":  # a run cut short is no result
        raise KeyboardInterrupt
    row = {
        protocol: float(br.evaluate(model, split, protocol=protocol).per_user["ndcg@10"].mean())
        for protocol in ("full", "sampled")
    }
    row["nll"] = float(br.predictive_nll(br.Posterior(model, seed=seed), split, seed=seed).mean())
    row["epochs"], row["seconds"] = fit.best_epoch, float(fit.history["seconds"].median())
    if model.is_random:
        summary = br.score_summary(model)
        scores = {name: getattr(model, name).scores for name in summary.index}
        row["kl"] = sum(
            summary["kl"][name] * entries_of_a_pair(split, histories, scores[name].scope)
            for name in summary.index
        )
        row |= summary.drop(columns=["kl", "floor", "excess"]).mean().to_dict()  # over sites
    return row


def entries_of_a_pair(split: br.data.Split, histories: br.data.Histories, scope: str) -> float:
    """Scores drawn for one training pair, of which a positive has five."""
    positives = split.items_by_user("train").lengths.double()
    lengths = histories.history.lengths.double()
    if scope == "user":
        return float(lengths.sum() / (5 * positives.sum()))
    return float((lengths * positives).sum() / positives.sum())


def table(results: dict[str, list[dict]]) -> str:
    lines = [f"| scores | {' | '.join(COLUMNS.values())} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name, rows in results.items():
        frame = pd.DataFrame(rows)
        cells = [cell(frame[c]) if c in frame else "" for c in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(values: pd.Series) -> str:
    mean = values.mean()
    if not np.isfinite(mean):
        return ""
    digits = 1 if abs(mean) >= 10 else 3
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def picture(results: dict[str, list[dict]]) -> Figure:
    """One panel a quantity, one bar a formulation."""
    panels = {
        "sampled": "NDCG@10, 1:99", "nll": "test NLL a pair", "kl": "KL a training pair",
        "contraction": "contraction", "effective": "even attention\n(bar: posterior, mark: prior)",
    }  # fmt: skip
    figure = Figure(figsize=(13, 0.9 + 0.32 * len(results)), layout="constrained")
    for axes, (column, title) in zip(
        figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
    ):
        values = [pd.DataFrame(rows).get(column, pd.Series([np.nan])) for rows in results.values()]
        axes.barh(list(results), [v.mean() for v in values], color="#1f5a94", height=0.6)
        if column == "effective":
            prior = [r[0].get("prior_effective", np.nan) for r in results.values()]
            axes.plot(prior, list(results), "|", color="black", markersize=12)
        if column == "kl":
            axes.set_xscale("symlog", linthresh=0.01)
            axes.set_xticks([0, 0.01, 1, 100])
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument(
        "--data", default="latest-small", help="name of a data set, ratings file or folder"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100, help="at most")
    parser.add_argument("--rows", nargs="+", help="names of rows; default: all of the study")
    parser.add_argument("--out", type=Path, required=True, help="folder for one file a run")
    parser.add_argument("--figure", type=Path, help="where to draw what the table says")
    options = parser.parse_args()
    unknown = [name for name in options.rows or [] if name not in STUDIES[options.study]]
    if unknown:
        known = ", ".join(map(repr, STUDIES[options.study]))
        parser.error(f"--rows: no {unknown[0]!r} among {known}")
    interactions = br.data.load(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict]] = {}
    for seed in range(options.seeds):
        for name, (model_options, fit_options) in STUDIES[options.study].items():
            if options.rows and name not in options.rows:
                continue
            path = (
                options.out
                / f"{name.replace(' ', '-').translate({ord(c): None for c in ':,'})}-{seed}.json"
            )
            about = (
                f"{interactions}, {model_options}, {fit_options}, at most {options.epochs} epochs"
            )
            try:
                path.open("x").close()  # now it is ours, and another process leaves it to us
            except FileExistsError:
                pass
            else:
                try:
                    row = run(interactions, seed, model_options, fit_options, options.epochs)
                except BaseException:
                    path.unlink()
                    raise
                path.write_text(json.dumps({"about": about, "row": row}))
                print(path.name, row, flush=True)
            if not path.stat().st_size:
                print(f"{path}: being made elsewhere, or left by a crash; then delete it")
                continue
            done = json.loads(path.read_text())
            if done["about"] != about:
                parser.error(f"{path} is of another run ({done['about']}); choose another --out")
            results.setdefault(name, []).append(done["row"])
    print(f"\n{interactions}, {options.seeds} seeds\n\n{table(results)}")
    if options.figure:
        picture(results).savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
