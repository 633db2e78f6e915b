"""NCF, FISM, NAIS, DACR, DeepCF, DRNet and DELF by loops, from the papers' formulas; no code of the package.

``w`` maps parameter names to arrays, ``history`` is ``R_u`` and ``audience`` ``R_i``, lists of codes.
"""

import numpy as np


def under(w, prefix):
    return {k[len(prefix) + 1 :]: v for k, v in w.items() if k.startswith(prefix + ".")}


def mlp(w, x):
    """Linear maps in order of their index, each followed by ReLU."""
    for index in sorted({int(k.split(".")[0]) for k in w}):
        x = np.maximum(0.0, w[f"{index}.weight"] @ x + w[f"{index}.bias"])
    return x


def softmax(x):
    e = np.exp(x - max(x))
    return e / sum(e)


def row_and_column(w, user, item, history, audience):
    """``p = Σ_{j in R_u, j != i} W_j`` and ``q = Σ_{v in R_i, v != u} V_v``."""
    p, q = np.zeros(w["of_row.weight"].shape[1]), np.zeros(w["of_column.weight"].shape[1])
    for j in history:
        if j != item:
            p = p + w["of_row.weight"][j]
    for v in audience:
        if v != user:
            q = q + w["of_column.weight"][v]
    return p, q


def attend_features(w, x):
    """``MLP(x ⊕ α ⊙ x)`` with ``α = softmax(W x + b)``."""
    alpha = softmax(w["attention.weight"] @ x + w["attention.bias"])
    return mlp(under(w, "tower"), np.concatenate([x, alpha * x]))


def z_product(w, user, item, history, audience):
    return w["user.weight"][user] * w["item.weight"][item]


def z_concatenation(w, user, item, history, audience):
    x = np.concatenate([w["user.weight"][user], w["item.weight"][item]])
    return mlp(under(w, "tower"), x)


def z_arl(w, user, item, history, audience):
    p, q = row_and_column(under(w, "matrix"), user, item, history, audience)
    return attend_features(under(w, "of_user"), p) * attend_features(under(w, "of_item"), q)


def z_aml(w, user, item, history, audience):
    p, q = row_and_column(under(w, "matrix"), user, item, history, audience)
    return attend_features(under(w, "of_both"), np.concatenate([p, q]))


def z_rl(w, user, item, history, audience):
    p, q = row_and_column(under(w, "matrix"), user, item, history, audience)
    p, q = np.maximum(0.0, p), np.maximum(0.0, q)
    return mlp(under(w, "of_user"), p) * mlp(under(w, "of_item"), q)


def z_ml(w, user, item, history, audience):
    p, q = row_and_column(under(w, "matrix"), user, item, history, audience)
    return mlp(under(w, "tower"), np.concatenate([p, q]))


PARTS = {
    "GMF": [z_product],
    "MLP": [z_concatenation],
    "NeuMF": [z_product, z_concatenation],
    "ARL": [z_arl],
    "AML": [z_aml],
    "DACR": [z_arl, z_aml],
    "CFNetRL": [z_rl],
    "CFNetML": [z_ml],
    "CFNet": [z_rl, z_ml],
}


def ensemble(name, w, user, item, history, audience):
    """``w · [z¹ ⊕ z² ..]``."""
    z = [
        part(under(w, f"parts.{number}"), user, item, history, audience)
        for number, part in enumerate(PARTS[name])
    ]
    return float(w["match.weight"][0] @ np.concatenate(z))


def fism(w, alpha, user, item, history):
    others = [j for j in history if j != item]
    bias = w["user_bias.weight"][user, 0] + w["item_bias.weight"][item, 0]
    if not others:
        return float(bias)
    total = sum(w["history.weight"][j] @ w["item.weight"][item] for j in others)
    return float(bias + total / len(others) ** alpha)


def nais(w, kind, beta, item, history):
    """``Σ_j exp f(q_i, h_j) / (Σ exp f)^β  h_j · q_i``."""
    q, energies, products = w["item.weight"][item], [], []
    for j in history:
        if j == item:
            continue
        h = w["history.weight"][j]
        inner = np.concatenate([q, h]) if kind == "concat" else q * h
        net = under(w, "attention.energy")
        hidden = np.maximum(0.0, net["inner.weight"] @ inner + net["inner.bias"])
        energies.append(net["outer.weight"][0] @ hidden)
        products.append(h @ q)
    s = np.exp(energies)
    return float(sum(s / s.sum() ** beta * np.array(products)))


def normed_mlp(w, x):
    """Linear map, layer norm, ReLU, in order of their index."""
    indices = sorted({int(k.split(".")[0]) for k in w})
    for linear, norm in zip(indices[::2], indices[1::2], strict=True):
        x = w[f"{linear}.weight"] @ x + w[f"{linear}.bias"]
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        x = np.maximum(0.0, w[f"{norm}.weight"] * x + w[f"{norm}.bias"])
    return x


def affection(w, user, item, layers):
    product = w["user.weight"][user] * w["item.weight"][item]
    return layers(under(w, "tower"), product)


def association(w, beta, user, item, history, layers):
    """``MLP(x_u ⊙ p_i)``, ``x_u`` by a smoothed softmax of ``h · affection(u, j)``."""
    x = np.zeros(w["history.weight"].shape[1])
    others = [j for j in history if j != item]
    if others:
        keys = [affection(under(w, "affection"), user, j, layers) for j in others]
        s = [np.exp(w["query"] @ key) for key in keys]
        for score, j in zip(s, others, strict=True):
            x = x + score / sum(s) ** beta * w["history.weight"][j]
    return layers(under(w, "tower"), x * w["target.weight"][item])


def drnet(name, w, beta, user, item, history, layers=normed_mlp):
    if name == "Affection":
        return float(w["match.weight"][0] @ affection(under(w, "parts.0"), user, item, layers))
    relation = under(w, "relation")
    z = [association(relation, beta, user, item, history, layers)]
    if name == "DRNet":
        z.insert(0, affection(under(relation, "affection"), user, item, layers))
    return float(w["match.weight"][0] @ np.concatenate(z))


def attend_globally(query, key_weight, key_bias, vectors):
    """``Σ_j softmax_j(h · tanh(W y_j + b)) y_j``; zero for no vector."""
    if not vectors:
        return np.zeros(len(query))
    alpha = softmax(np.array([query @ np.tanh(key_weight @ y + key_bias) for y in vectors]))
    return sum(a * y for a, y in zip(alpha, vectors, strict=True))


def delf(w, user, item, history, audience):
    p, q = w["user.weight"][user], w["item.weight"][item]
    choices = [w["history.weight"][j] for j in history if j != item]
    m = attend_globally(w["query"], w["key.weight"], w["key.bias"], choices)
    a = under(w, "audience")
    others = [a["user.weight"][v] for v in audience if v != user]
    n = attend_globally(a["query"], a["key.weight"], a["key.bias"], others)
    z = [
        mlp(under(w, f"towers.{k}"), np.concatenate(pair))
        for k, pair in enumerate([(p, q), (m, n), (p, n), (m, q)])
    ]
    return float(w["match.weight"][0] @ np.concatenate(z) + w["match.bias"][0])
