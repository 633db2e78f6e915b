"""Is the posterior of the scores calibrated? Simulation with known truth.

    python benchmarks/calibration.py --figure docs/calibration.png

Draws scores from their prior and labels from the model, all networks known and fixed; fits only the
guide, with the ELBO; and asks how often its central intervals hold the true score. Averaged over
such data sets an exact posterior covers exactly (simulation-based calibration, Talts et al. 2018);
a guide that covers less is overconfident. Prints, per family and width of the guide, the coverage of
50 % and 90 % intervals with standard errors over users, and the mean contraction.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

import bayes_recsys as br
from bayes_recsys.experiments.simulated import Design
from bayes_recsys.scores import Gamma, LogNormal, Weibull

FAMILIES = (LogNormal, Gamma, Weibull)
WIDTHS = (0.1, 0.5, 1.0, "learned", "amortised")
LEVELS = np.linspace(0.05, 0.95, 19)


@torch.no_grad()
def ranks(model: br.models.BAMF, batch, true: Tensor, draws: int) -> Tensor:
    """``P_q(s < true)`` of every score, ``[G, L]``."""
    guide = model.attend(batch)["user_attention"].guide()
    return (guide.sample((draws,)).squeeze(-2) < true).double().mean(0).where(~true.isnan(), np.nan)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=60, help="labelled pairs per user")
    parser.add_argument("--logit-sd", type=float, default=2.0, help="over pairs")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    rows, curves = [], {}
    for family in FAMILIES:
        design = Design(family, options.users, options.pairs, options.logit_sd, seed=options.seed)
        truth, batch, true = design.simulate()
        for width in WIDTHS:
            model = design.guided(truth, batch, width, options.steps)
            rank = ranks(model, batch, true, draws=1000)
            inside = (rank - 0.5).abs()[..., None] <= torch.from_numpy(LEVELS) / 2
            by_user = inside.double().masked_fill(rank.isnan()[..., None], np.nan).nanmean(1)
            cover, error = by_user.mean(0).numpy(), (by_user.std(0) / len(by_user) ** 0.5).numpy()
            curves[family.__name__, width] = cover
            at = [int(np.abs(LEVELS - level).argmin()) for level in (0.5, 0.9)]
            guide = model.attend(batch)["user_attention"].guide()
            narrowed = 1 - guide.variance_log[:, 0][batch.history_mask].mean().item()
            rows.append(
                {
                    "family": family.__name__,
                    "width": width,
                    "50 %": f"{cover[at[0]]:.3f} ± {error[at[0]]:.3f}",
                    "90 %": f"{cover[at[1]]:.3f} ± {error[at[1]]:.3f}",
                    "contraction": round(narrowed, 3),
                }
            )
            print(rows[-1], flush=True)
    print(pd.DataFrame(rows).to_string(index=False))
    if options.figure:
        picture(curves).savefig(options.figure, dpi=110)


def picture(curves: dict) -> Figure:
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, family in zip(figure.subplots(1, 3, sharey=True), FAMILIES, strict=True):
        axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle=":")
        for width, colour in zip(
            WIDTHS, ("#9ecae1", "#4292c6", "#084594", "#fd8d3c", "#d94801"), strict=True
        ):
            axes.plot(LEVELS, curves[family.__name__, width], color=colour, label=f"width {width}")
        axes.set(title=family.__name__, xlabel="nominal probability of the interval")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("share of true scores inside")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
