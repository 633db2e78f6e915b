"""What families and formulations of the scores are worth on real data.

    python benchmarks/scores.py families --out runs/families
    python benchmarks/scores.py formulations --out runs/formulations --figure docs/formulations.png
    python benchmarks/scores.py published --seeds 5 --out runs/published --figure docs/published.png

Trains BAMF for every row and seed, everything else the same; writes one file a run, skips those
that are there (so it can be stopped, resumed, or run twice side by side), and prints a Markdown table:
mean over seeds ± standard deviation. A seed decides split, initial weights, negatives and draws.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bayes_recsys as br
from bayes_recsys.experiments import Setting
from bayes_recsys.experiments.published import BAYESIAN, TEMPERED
from bayes_recsys.models import BAMF, Options
from bayes_recsys.records import read_json, to_record, write_json
from bayes_recsys.scores import Gamma, LogNormal, Point, Scores, Weibull

OF_EACH_PAIR = Scores(LogNormal("learned"), LogNormal(1.0), scope="interaction")


def bamf(options: dict[str, object], objective: br.Objective = br.Objective()) -> Setting:
    """A row: BAMF with these options."""
    return Setting(Options(BAMF, options), objective)


FAMILY_ROWS = {
    "Point": bamf({"user_scores": Point()}),
    **{
        f"{guide.__name__} guide, {prior.__name__} prior": bamf(
            {"user_scores": Scores(guide("learned"), prior(1.0))}
        )
        for guide in (LogNormal, Gamma, Weibull)
        for prior in (LogNormal, Gamma, Weibull)
    },
    "published, tempered": bamf(BAYESIAN, TEMPERED),
}
FORMULATION_ROWS = {
    "published": bamf(BAYESIAN),
    "published, tempered": bamf(BAYESIAN, TEMPERED),
    "interaction, learned width": bamf(
        {**BAYESIAN, "user_scores": OF_EACH_PAIR, "item_scores": OF_EACH_PAIR}
    ),
    "user, width 0.1": bamf({"user_scores": Scores(LogNormal(0.1)), "strength": "user"}),
    "user, learned width": bamf({"strength": "user"}),
    "default: strength both": bamf({}),
    "default, amortised width": bamf({"user_scores": Scores(LogNormal("amortised"))}),
    "default, separate values": bamf({"values": "separate"}),
    "default, prior sd 2": bamf({"user_scores": Scores(prior=LogNormal(2.0))}),
    "default, contextual prior": bamf({"user_scores": Scores(prior_mean="contextual")}),
    "default, combine sum": bamf({"combine": "sum"}),
    "default, learned prior": bamf(
        {"user_scores": Scores(prior=LogNormal("learned"), prior_mean="learned")}
    ),
    "Point": bamf({"user_scores": Point()}),
}
LEARNING = {"pointwise": br.Bernoulli(), "pairwise": br.BradleyTerry()}
# One score a choice, and none of the targets' own.
OF_EACH_CHOICE = Scores(LogNormal(0.1), LogNormal(1.0), scope="user", prior_mean="contextual")


def paper(
    objective: br.Objective, energy: str = "concat", of_choice: bool = False, **scores: object
) -> Setting:
    """A row: the paper's model, with its training."""
    options = dict(Options.as_published(BAMF, {"energy": energy, **scores}).values)
    if of_choice:
        options |= {"user_scores": OF_EACH_CHOICE, "item_scores": Point()}
    return Setting(Options(BAMF, options), objective, br.Training.as_published())


def experiments() -> dict[str, Setting]:
    """The paper's four, each by three objectives; and for the first, other widths and families."""
    rows = {}
    for energy, (learning, likelihood) in product(("concat", "prod"), LEARNING.items()):
        of = f"{energy}, {learning}"
        tempered = replace(TEMPERED, likelihood=likelihood)
        rows[f"{of}: (a) the document's ELBO"] = paper(br.Objective(likelihood), energy)
        rows[f"{of}: (b) public code's weight"] = paper(tempered, energy)
        rows[f"{of}: (c) one score a choice"] = paper(br.Objective(likelihood), energy, True)
    first = "concat, pointwise"
    for letter, objective in (("a", br.Objective()), ("b", TEMPERED)):
        for scale in (0.3, 1.0):
            rows[f"{first}: ({letter}) width {scale}"] = paper(objective, guide=LogNormal(scale))
        for family in (Gamma, Weibull):
            rows[f"{first}: ({letter}) {family.__name__}"] = paper(
                objective, guide=family(0.1), prior=family(1.0)
            )
    return rows


STUDIES = {"families": FAMILY_ROWS, "formulations": FORMULATION_ROWS, "published": experiments()}
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


def run(interactions: br.data.Interactions, setting: Setting) -> dict[str, float]:
    """Train and measure."""
    seed = setting.training.seed
    split = br.data.split(interactions, seed=seed)
    fit = setting.fit(split)
    model = fit.model
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
            summary["kl"][name]
            * entries_of_a_pair(
                split, model.histories, scores[name].scope, 1 + model.likelihood.negatives
            )
            for name in summary.index
        )
        row |= summary.drop(columns=["kl", "floor", "excess"]).mean().to_dict()  # over sites
    return row


def entries_of_a_pair(
    split: br.data.Split, histories: br.data.Histories, scope: str, pairs: int
) -> float:
    """Scores drawn for one training pair, of which a positive has so many."""
    positives = split.items_by_user("train").lengths.double()
    lengths = histories.history.lengths.double()
    if scope == "user":
        return float(lengths.sum() / (pairs * positives.sum()))
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
    there = pd.concat(map(pd.DataFrame, results.values()))
    panels = {c: title for c, title in panels.items() if c in there and there[c].notna().any()}
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


def finished(path: Path, interactions: br.data.Interactions, setting: Setting) -> dict | None:
    """The row of a run, done now unless it is there; ``None`` if another process is at it.

    Raises:
        ValueError: The file is of another run.
    """
    about = {"data": str(interactions), **setting.record()}
    try:
        path.open("x").close()  # now it is ours, and another process leaves it to us
    except FileExistsError:
        pass
    else:
        try:
            row = run(interactions, setting)
        except BaseException:
            path.unlink()
            raise
        write_json({"about": about, "row": to_record(row)}, path)
        print(path.name, row, flush=True)
    if not path.stat().st_size:
        print(f"{path}: being made elsewhere, or left by a crash; then delete it")
        return None
    done = read_json(path)
    if done["about"] != about:
        raise ValueError(f"{path} is of another run ({done['about']}); choose another --out")
    return done["row"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("study", choices=STUDIES)
    add("--data", default="latest-small", help="name of a data set, ratings file or folder")
    add("--seeds", type=int, default=3)
    add("--epochs", type=int, default=100, help="at most")
    add("--rows", nargs="+", help="names of rows; default: all of the study")
    add("--out", type=Path, required=True, help="folder for one file a run")
    add("--figure", type=Path, help="where to draw what the table says")
    options = parser.parse_args(arguments)
    rows = STUDIES[options.study]
    unknown = [name for name in options.rows or [] if name not in rows]
    if unknown:
        parser.error(f"--rows: no {unknown[0]!r} among {', '.join(map(repr, rows))}")
    interactions = br.data.load(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict]] = {}
    for seed in range(options.seeds):
        for name, setting in rows.items():
            if options.rows and name not in options.rows:
                continue
            plain = name.replace(" ", "-").translate({ord(c): None for c in ":,()'"})
            training = replace(setting.training, seed=seed, max_epochs=options.epochs)
            path = options.out / f"{plain}-{seed}.json"
            row = finished(path, interactions, replace(setting, training=training))
            if row is not None:
                results.setdefault(name, []).append(row)
    print(f"\n{interactions}, {options.seeds} seeds\n\n{table(results)}")
    if options.figure:
        picture(results).savefig(options.figure, dpi=110)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished runs are kept; the same command goes on from there")
