"""Ranking metrics as pure functions of who was hit where.

Every function takes ``hits [U, k_max]`` (bool: is the item at this rank relevant; users with fewer
candidates are padded with False), ``n_relevant [U]`` (relevant candidates of each user, at least
1) and ``k ≤ k_max``, and returns one value per user, ``[U]`` in ``[0, 1]``.
"""

from __future__ import annotations

import numpy as np


def hit_rate(hits: np.ndarray, n_relevant: np.ndarray, k: int) -> np.ndarray:
    """HR@k: 1 if any of the first ``k`` is relevant.

    Example:
        >>> hits = np.array([[False, True, True], [False, False, True]])
        >>> hit_rate(hits, np.array([2, 1]), k=2)
        array([1., 0.])
    """
    return hits[:, :k].any(axis=1).astype(float)


def precision(hits: np.ndarray, n_relevant: np.ndarray, k: int) -> np.ndarray:
    """Precision@k: relevant among the first ``k``, over ``k``.

    Example:
        >>> precision(np.array([[False, True, True]]), np.array([2]), k=2)
        array([0.5])
    """
    return hits[:, :k].sum(axis=1) / k


def recall(hits: np.ndarray, n_relevant: np.ndarray, k: int) -> np.ndarray:
    """Recall@k: relevant among the first ``k``, over all relevant.

    Example:
        >>> recall(np.array([[False, True, True]]), np.array([4]), k=3)
        array([0.5])
    """
    return hits[:, :k].sum(axis=1) / n_relevant


def average_precision(hits: np.ndarray, n_relevant: np.ndarray, k: int) -> np.ndarray:
    """AP@k: precision at the rank of each hit, summed over the first ``k``, over all relevant
    (trec_eval's ``map_cut``: the divisor is not capped at ``k``).

    Example:
        >>> average_precision(np.array([[True, False, True]]), np.array([2]), k=3)  # (1 + 2/3) / 2
        array([0.83333333])
    """
    hits = hits[:, :k]
    at_rank = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (at_rank * hits).sum(axis=1) / n_relevant


def ndcg(hits: np.ndarray, n_relevant: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k with binary gain and discount ``1 / log2(rank + 1)``; the ideal is capped at ``k``
    (Järvelin and Kekäläinen, 2002).

    Example:
        >>> ndcg(np.array([[False, True]]), np.array([1]), k=2).round(4)  # 1 / log2(3)
        array([0.6309])
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain = hits[:, :k] @ discount[: hits[:, :k].shape[1]]
    ideal = discount.cumsum()[np.minimum(n_relevant, k).astype(int) - 1]
    return gain / ideal


METRICS = {
    "hr": hit_rate,
    "ndcg": ndcg,
    "precision": precision,
    "recall": recall,
    "map": average_precision,
}


def all_metrics(
    hits: np.ndarray, n_relevant: np.ndarray, ks: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Every metric at every ``k``: ``{"ndcg@10": [U], ..}``."""
    return {f"{name}@{k}": f(hits, n_relevant, k) for name, f in METRICS.items() for k in ks}
