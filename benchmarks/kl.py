"""The nine divergences in closed form against quadrature of SciPy's densities.

    python benchmarks/kl.py --figure docs/kl.png

Prints, per pair, the largest relative error over a grid of widths and means, and the least value.
"""

from __future__ import annotations

import argparse
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import integrate, optimize, special, stats
from torch.distributions import kl_divergence

from bayes_recsys.scores import Gamma, LogNormal, Weibull

FAMILIES = (LogNormal, Gamma, Weibull)
GUIDE_SCALES, PRIOR_SCALES = (0.1, 0.5, 1.5), (0.3, 1.0, 2.0)
SHIFTS = np.linspace(-1.5, 1.5, 7)


def in_scipy(family, scale: float, log_mean: float):
    """The same distribution in SciPy, from its mean and the sd of ln s."""
    mean = np.exp(log_mean)
    if family is LogNormal:
        return stats.lognorm(s=scale, scale=np.exp(log_mean - scale**2 / 2))
    if family is Gamma:
        a = optimize.brentq(lambda a: special.polygamma(1, a) - scale**2, 1e-3, 1e7, xtol=1e-12)
        return stats.gamma(a=a, scale=mean / a)
    k = np.pi / (np.sqrt(6) * scale)
    return stats.weibull_min(c=k, scale=mean / stats.weibull_min(c=k).mean())


def by_quadrature(q, p, centre: float, width: float) -> float:
    """``∫ q(s) ln(q(s) / p(s)) ds``, over ``ln s`` and in pieces."""

    def integrand(y: float) -> float:
        s = np.exp(y)
        return np.exp(q.logpdf(s) + y) * (q.logpdf(s) - p.logpdf(s))

    edges = centre + width * np.array([-40, -12, -4, -1.5, 0, 1.5, 4, 7, 10, 14])
    return sum(
        integrate.quad(integrand, a, b, epsabs=1e-12, epsrel=1e-9)[0] for a, b in pairwise(edges)
    )


def closed(q_family, q_scale, p_family, p_scale, shift: float) -> float:
    q = q_family(q_scale).distribution(torch.tensor(shift, dtype=torch.float64))
    p = p_family(p_scale).distribution(torch.zeros((), dtype=torch.float64))
    return kl_divergence(q, p).item()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    figure = Figure(figsize=(10, 8), layout="constrained")
    panels = figure.subplots(3, 3, sharex=True, sharey=True)
    rows = []
    for axes, (q_family, p_family) in zip(panels.flat, product(FAMILIES, FAMILIES), strict=True):
        worst, least = 0.0, np.inf
        for q_scale, p_scale in product(GUIDE_SCALES, PRIOR_SCALES):
            exact = np.array(
                [
                    by_quadrature(
                        in_scipy(q_family, q_scale, shift),
                        in_scipy(p_family, p_scale, 0.0),
                        shift + float(q_family(q_scale).expected_log),
                        q_scale,
                    )
                    for shift in SHIFTS
                ]
            )
            ours = np.array([closed(q_family, q_scale, p_family, p_scale, x) for x in SHIFTS])
            # A divergence of zero has no relative error.
            worst = max(worst, float(np.max(np.abs(ours - exact) / np.maximum(exact, 1e-6))))
            least = min(least, ours.min())
            if p_scale == 1.0:
                fine = np.linspace(SHIFTS[0], SHIFTS[-1], 100)
                curve = [closed(q_family, q_scale, p_family, p_scale, x) for x in fine]
                (line,) = axes.plot(fine, curve, linewidth=1, label=f"guide width {q_scale}")
                axes.plot(SHIFTS, exact, "o", markersize=4, color=line.get_color())
        axes.set_title(f"{q_family.__name__} ‖ {p_family.__name__}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        rows.append(
            {
                "guide": q_family.__name__,
                "prior": p_family.__name__,
                "points": len(GUIDE_SCALES) * len(PRIOR_SCALES) * len(SHIFTS),
                "largest relative error": f"{worst:.1e}",
                "least divergence": f"{least:.2g}",
            }
        )
    for axes in panels[-1]:
        axes.set_xlabel("ln (guide mean / prior mean)")
    panels[0, 0].legend(frameon=False, fontsize=8)
    figure.supylabel("divergence in nats, prior width 1 (dots: quadrature)", fontsize=10)
    panels[0, 0].set_ylim(0, 4)
    print(pd.DataFrame(rows).to_string(index=False))
    if options.figure:
        figure.savefig(options.figure, dpi=100)


if __name__ == "__main__":
    main()
