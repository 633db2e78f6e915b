"""Pictures of a fit and of what a recommendation attends to."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_recsys.posterior.arviz import group_of

COLOUR = "#1f5a94"


def plot_loss(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Training loss, loss on held-out choices and the monitored metric by epoch, the kept epoch marked.

    Args:
        history: ``Fit.history``.
        best_epoch: ``Fit.best_epoch``.
    """
    columns = {"loss": "training objective per pair"}
    if history["held_out_nll"].notna().any():
        columns["held_out_nll"] = "NLL of held-out choices"
    (monitored,) = set(history) - {"epoch", "loss", "held_out_nll", "measuring", "seconds"}
    columns[monitored] = f"{monitored.upper()} of held-out items"
    figure = Figure(figsize=(3.5 * len(columns), 3.2), layout="constrained")
    every = figure.subplots(1, len(columns))
    for axes, (column, title) in zip(every, columns.items(), strict=True):
        axes.plot(
            *history[["epoch", column]].dropna().to_numpy().T,
            marker="o",
            markersize=3,
            color=COLOUR,
        )
        axes.axvline(best_epoch, color="grey", linestyle=":", linewidth=1)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    every[-1].annotate(
        "kept", (best_epoch, 0), xycoords=("data", "axes fraction"), xytext=(3, 4),
        textcoords="offset points", color="grey",
    )  # fmt: skip
    return figure


def plot_attention(
    posterior: xr.DataTree,
    user: str,
    *,
    site: str | None = None,
    items: int = 3,
    top: int = 10,
    interval: float = 0.9,
) -> Figure:
    """Which entries of the history (or of an audience) carry a recommendation, with intervals.

    One panel per target item: the ``top`` entries by posterior mean *share* of attention,
    ``α_j / Σ α`` (the weights themselves sum to one only with ``beta=1``), with central posterior
    intervals. The dotted line is the share of an entry if attention were even.

    Args:
        posterior: From :func:`~bayes_recsys.posterior.arviz.to_arviz` (or ``posterior_tree``), of this user or of
            several.
        user: A user id in it.
        site: The attention site; by default the last one whose weights are uncertain (``item_attention``
            of BAMF), or the last one.
        items: Most panels; the first targets are shown.
        top: Entries per panel.
        interval: Probability of the intervals.

    Raises:
        ValueError: There is no such site or user, ``top`` is below 1, or there is nothing to
            attend over.
    """
    if isinstance(posterior, Mapping) and group_of(str(user)) in posterior:  # of several users
        posterior = posterior[group_of(str(user))]
    if "posterior" not in posterior:
        raise ValueError(f"user {user!r} is not among those drawn for")
    draws = posterior["posterior"]
    posterior = draws.to_dataset() if isinstance(draws, xr.DataTree) else draws
    sites = [name.removesuffix("_weight") for name in posterior if name.endswith("_weight")]
    if site is None:
        weights = {name: posterior[f"{name}_weight"] for name in sites}
        uncertain = [n for n, w in weights.items() if (w.max("draw") > w.min("draw")).any()]
        site = (uncertain or sites)[-1]
    if site not in sites:
        raise ValueError(f"no attention site {site!r}; there are {', '.join(sites)}")
    if str(user) not in posterior["user"]:
        raise ValueError(f"user {user!r} is not among those drawn for")
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    over = posterior[f"{site}_weight"].dims[-1]  # history or audience
    posterior = posterior.sel(user=str(user)).stack(sample=("chain", "draw"))
    attends = posterior[f"{site}_weight"].notnull().any((over, "sample"))
    posterior = posterior.isel(item=attends.to_numpy())
    if not posterior.sizes["item"]:
        raise ValueError(f"{site} has nothing to attend over for user {user!r} and these targets")
    logit = posterior["logit"]
    shown_items = min(items, logit.sizes["item"])
    tail = (1 - interval) / 2

    figure = Figure(figsize=(4.6 * shown_items, 0.6 + 0.36 * top), layout="constrained")
    for position, axes in enumerate(figure.subplots(1, shown_items, squeeze=False)[0]):
        weight = posterior[f"{site}_weight"].isel(item=position).dropna(over, how="all")
        share = 100 * weight / weight.sum(over)
        best = np.argsort(-share.mean("sample").to_numpy(), kind="stable")[:top][::-1]
        shown = share.isel({over: best})
        low, high = shown.quantile([tail, 1 - tail], dim="sample").to_numpy()
        _forest(axes, shown.mean("sample").to_numpy(), low, high, _names(shown, over))
        axes.axvline(100 / share.sizes[over], color="grey", linestyle=":", linewidth=1)
        one = logit.isel(item=position)
        title = _names(one.expand_dims("item"), "item")[0]
        axes.set_title(
            f"{title}\nlogit {float(one.mean()):.2f} ± {float(one.std()):.2f}", fontsize=10
        )
        entries = "items" if over == "history" else "users"
        axes.set_xlabel(f"share of attention over {share.sizes[over]} {entries} (%)")
    figure.suptitle(
        f"User {user}: what each recommendation attends to ({site}, {interval:.0%} intervals)",
        fontsize=11,
    )
    return figure


def _forest(axes: Axes, mean, low, high, names: list[str]) -> None:
    rows = np.arange(len(mean))
    axes.hlines(rows, low, high, color=COLOUR, linewidth=2, alpha=0.5)
    axes.plot(mean, rows, "o", markersize=4, color=COLOUR)
    axes.set_yticks(rows, names, fontsize=8)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def _names(values: xr.DataArray, dim: str) -> list[str]:
    label = f"{dim}_title" if f"{dim}_title" in values.coords else dim
    names = np.atleast_1d(values[label].to_numpy()).astype(str)
    ids = np.atleast_1d(values[dim].to_numpy()).astype(str)
    return [_short(name or own) for name, own in zip(names, ids, strict=True)]


def _short(name: str, most: int = 34) -> str:
    """Cut between words, or within one that is too long itself."""
    short = textwrap.shorten(name, most, placeholder=" ..")
    return f"{name[: most - 3]} .." if short == ".." else short
