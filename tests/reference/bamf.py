"""BAMF by loops, written from the paper's formulas; shares no code with the package."""

import numpy as np


def energy(kind, weights, q, k):
    if kind == "dot":
        return float(q @ k)
    inner = np.concatenate([q, k]) if kind == "concat" else q * k
    hidden = np.maximum(0.0, weights["inner.weight"] @ inner + weights["inner.bias"])
    return float(weights["outer.weight"][0] @ hidden)


def pool(scores, vectors, beta, tau):
    """``Σ_j α_j h_j`` with ``α = s^τ / (Σ s^τ)^β``."""
    powered = [s**tau for s in scores]
    total = sum(powered) ** beta
    return sum(p / total * h for p, h in zip(powered, vectors, strict=True))


def layernorm(x, weight, bias):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


def combine(how, p, c, weights):
    if how == "prod":
        return layernorm(p * c, weights["norm.weight"], weights["norm.bias"])
    if how == "context":
        return c
    if how == "sum":
        return p + c
    if how == "mean":
        return 0.5 * p + 0.5 * c
    if how == "cat":
        return np.concatenate([p, c])
    odds = np.exp([weights["gate.weight"][0] @ p, weights["gate.weight"][0] @ c])
    share = odds / odds.sum()
    return share[0] * p + share[1] * c


def logit(w, options, user, item, history, audience, moment):
    """Logit of a pair with the scores' ``E[s^τ]`` for ``s^τ``.

    ``w`` maps parameter names to arrays; ``moment(side, log_mean, τ)`` is ``E[s^τ]``.
    """

    def sub(prefix):
        return {k[len(prefix) + 1 :]: v for k, v in w.items() if k.startswith(prefix + ".")}

    def of_history():
        if options["item_table"] == "separate":
            keys = [w["history.weight"][j] for j in history if j != item]
        else:
            table = w["item.0.weight"]
            keys = [w["history.1.weight"] @ table[j] for j in history if j != item]
        if options["values"] == "shared":
            return keys, keys
        return keys, [w["value.weight"][j] for j in history if j != item]

    def of_audience():
        others = [v for v in audience if v != user]
        keys = [w["audience.weight"][v] for v in others]
        if options["values"] == "shared":
            return keys, keys
        return keys, [w["audience_value.weight"][v] for v in others]

    if options["item_table"] == "separate":
        q = w["item.weight"][item]
    else:
        q = w["item.1.weight"] @ w["item.0.weight"][item]
    p = w["user.weight"][user]

    contexts, powered = [], {}
    for side, query in (("user", p), ("item", q)):
        own_audience = options["history"] == "item" or (options["history"], side) == (
            "both",
            "item",
        )
        h, v = of_audience() if own_audience else of_history()
        if not h:
            contexts.append(np.zeros_like(p))
            continue
        weights = sub(f"{side}_attention.energy")
        energies = [energy(options["energy"], weights, query, k) for k in h]
        powered[side] = [moment(side, e, options["tau"]) for e in energies]
        if side == "item" and options["strength"] == "both":
            powered["item"] = [a * b for a, b in zip(powered["item"], powered["user"], strict=True)]
        contexts.append(pool(powered[side], v, options["beta"], tau=1.0))

    z_u = combine(options["combine"], p, contexts[0], sub("user_combine"))
    z_i = combine(options["combine"], q, contexts[1], sub("item_combine"))
    inner = w["match.0.weight"] @ (z_u * z_i) + w["match.0.bias"]
    return float(w["match.1.weight"][0] @ inner)
