"""Pictures of comparisons, probabilities and selective recommendation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOUR, PALE = "#1f5a94", "#9aa5b1"


def plot_comparison(table: pd.DataFrame, *, metric: str = "ndcg@10", alpha: float = 0.05) -> Figure:
    """Means of the models, highest on top, and their differences from the one they are compared with.

    Differences that are significant after adjustment are filled.

    Args:
        table: From :func:`~bayes_recsys.evaluation.comparison.compare`.
        metric: What the means are of, for the title.
        alpha: Level of significance.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=60, n_items=80, seed=0).interactions)
        >>> scorers = {"popularity": br.baselines.Popularity(split), "EASE": br.baselines.EASE(split)}
        >>> evaluations = {name: br.evaluate(scorer, split) for name, scorer in scorers.items()}
        >>> figure = plot_comparison(br.compare(evaluations, against="popularity"))
    """
    figure = Figure(figsize=(9, 1.2 + 0.26 * len(table)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(table))[::-1]
    against = table.index[table["difference"].isna()][0]
    below, above = table["mean"] - table["low"], table["high"] - table["mean"]
    left.errorbar(table["mean"], place, xerr=[below, above], fmt="o", color=COLOUR, markersize=4)
    left.set_title(f"{metric}, with interval", fontsize="medium")
    left.set_yticks(place, table.index)
    for at, (name, row) in zip(place, table.iterrows(), strict=True):
        if name == against:
            continue
        significant = row["p_holm"] < alpha
        right.errorbar(
            row["difference"],
            at,
            xerr=[
                [row["difference"] - row["difference_low"]],
                [row["difference_high"] - row["difference"]],
            ],
            fmt="o",
            color=COLOUR if significant else PALE,
            markerfacecolor=COLOUR if significant else "white",
            markersize=4,
        )
    right.axvline(0, color="grey", linewidth=1, linestyle=":")
    right.set_title(f"less {against}; filled: p < {alpha} (Holm)", fontsize="medium")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
        axes.locator_params(axis="x", nbins=4)
    return figure


def plot_reliability(curves: Mapping[str, pd.DataFrame], axes: Axes | None = None) -> Axes:
    """Observed frequency against predicted probability, one line a model.

    Args:
        curves: By name, from :func:`~bayes_recsys.evaluation.calibration.reliability`.
        axes: Where to draw; a figure of its own by default.
    """
    axes = Figure(figsize=(4.6, 4.4), layout="constrained").subplots() if axes is None else axes
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    for name, curve in curves.items():
        axes.plot(curve["predicted"], curve["observed"], marker="o", markersize=3, label=name)
    axes.set(xlabel="predicted probability", ylabel="observed frequency", aspect="equal")
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plot_risk_coverage(curves: Mapping[str, pd.DataFrame], axes: Axes | None = None) -> Axes:
    """Risk of serving only the users with the least uncertainty, one line an uncertainty; the first
    twentieth of the users is too few to show.

    Args:
        curves: By name, from :func:`~bayes_recsys.evaluation.selective.risk_coverage`.
        axes: Where to draw; a figure of its own by default.
    """
    axes = Figure(figsize=(5.2, 3.8), layout="constrained").subplots() if axes is None else axes
    for name, curve in curves.items():
        shown = curve[curve["coverage"] >= 0.05]
        axes.plot(shown["coverage"], shown["risk"], label=name)
    axes.set(xlabel="coverage: share of users served", ylabel="risk: 1 - mean quality")
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return axes
