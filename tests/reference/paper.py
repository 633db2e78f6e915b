"""BAMF's objective by loops, written from the paper's document alone; no code of the package.

``w`` maps parameter names to arrays, ``scores`` are drawn ones by side, ``[C, L]`` for a user's candidates.
"""

import numpy as np
from scipy import stats

from tests.reference.bamf import energy, layernorm, pool


def sub(w, prefix):
    return {k[len(prefix) + 1 :]: v for k, v in w.items() if k.startswith(prefix + ".")}


def log_normal(s, mean, sd):
    """``ln`` of the density of a log-normal of that mean, its logarithm of that standard deviation."""
    return stats.lognorm.logpdf(s, sd, scale=mean * np.exp(-0.5 * sd**2))


def prior_means(w, side, keys):
    """Averaging one over the history: a two-layer network of the key."""
    net = sub(w, f"{side}_attention.prior_network")
    raw = []
    for k in keys:
        hidden = np.maximum(0.0, net["0.weight"] @ k + net["0.bias"])
        raw.append(np.exp(10 * np.tanh((net["2.weight"][0] @ hidden) / 10)))
    return np.array(raw) / np.mean(raw)


def pair(w, kind, user, item, history, scores, beta, tau, sd_guide, sd_prior):
    """Logit of a pair, and ``Σ_j ln q(s_j) - ln p(s_j)`` over both sides."""
    places = [place for place, j in enumerate(history) if j != item]
    p, q = w["user.weight"][user], w["item.weight"][item]
    h = [w["history.weight"][history[place]] for place in places]
    refined, divergence = [], 0.0
    for side, vector in (("user", p), ("item", q)):
        s = [scores[side][place] for place in places]
        c = pool(s, h, beta, tau)
        norm = sub(w, f"{side}_combine.norm")
        refined.append(layernorm(vector * c, norm["weight"], norm["bias"]))
        net = sub(w, f"{side}_attention.energy")
        guide = [np.exp(energy(kind, net, vector, k)) for k in h]
        prior = prior_means(w, side, h)
        for one, of_guide, of_prior in zip(s, guide, prior, strict=True):
            divergence += log_normal(one, of_guide, sd_guide) - log_normal(one, of_prior, sd_prior)
    z = refined[0] * refined[1]
    logit = w["match.1.weight"][0] @ (w["match.0.weight"] @ z + w["match.0.bias"])
    return float(logit), divergence


def pointwise(logits, labels):
    """``-Σ y ln σ(x) + (1 - y) ln(1 - σ(x))``."""
    return sum(
        np.log1p(np.exp(-x)) if y else np.log1p(np.exp(x))
        for x, y in zip(logits, labels, strict=True)
    )


def pairwise(logits, labels):
    """``-Σ ln σ(x_pos - x_neg)`` of positives, each with the one negative behind it."""
    return sum(
        np.log1p(np.exp(-(x - other))) for x, other in zip(logits[::2], logits[1::2], strict=True)
    )
