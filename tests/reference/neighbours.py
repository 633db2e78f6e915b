"""NCF, FISM, NAIS, DACR and DeepCF by loops, from the papers' formulas; no code of the package.

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
