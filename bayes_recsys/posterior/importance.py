"""Is a guide a usable proposal for the posterior?"""

from __future__ import annotations

import numpy as np

from bayes_recsys.posterior.arviz import import_arviz


def pareto_k(log_weights: np.ndarray) -> float:
    """Pareto k-hat of importance weights: the shape of their largest, by ArviZ, whichever is installed.

    Below 0.5 the weights have a variance; above 0.7 draws of their proposal say nothing reliable of the
    target, however many. Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto Smoothed Importance Sampling"
    (2024); Yao, Vehtari, Simpson and Gelman, "Yes, but Did It Work?" (2018).

    Args:
        log_weights: ``ln p(x) - ln q(x)`` of independent draws ``x ~ q``, shape ``[S]``; some hundreds.

    Raises:
        ValueError: There are fewer than 25, or one is NaN or infinite.

    Example:
        >>> pareto_k(np.random.default_rng(0).normal(size=2000)) < 0.5
        True
    """
    log_weights = np.asarray(log_weights, dtype=float)
    if log_weights.ndim != 1 or len(log_weights) < 25 or not np.isfinite(log_weights).all():
        raise ValueError("log_weights must be at least 25 finite numbers, in one dimension")
    arviz = import_arviz()
    if hasattr(arviz, "psislw"):  # ArviZ below 1.0; returns the smoothed weights and k-hat
        with np.errstate(over="ignore"):  # of points of its grid that have no weight
            return float(arviz.psislw(log_weights)[1])
    from arviz_stats.base import array_stats

    # Its own log_weights=True is lost on the way to the fit.
    weights = np.exp(log_weights - log_weights.max())
    with np.errstate(over="ignore"):
        return float(array_stats.pareto_khat(weights, chain_axis=None, r_eff=1.0, tail="right"))
