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
    ranks = min(k, max(hits.shape[1], int(n_relevant.max())))  # beyond there is nothing
    discount = 1 / np.log2(np.arange(2, ranks + 2))
    gain = hits[:, :k] @ discount[: hits[:, :k].shape[1]]
    ideal = discount.cumsum()[np.minimum(n_relevant, k).astype(int) - 1]
    return gain / ideal


def reciprocal_rank(hits: np.ndarray, n_relevant: np.ndarray, k: int) -> np.ndarray:
    """RR@k: one over the rank of the first relevant item, 0 if it is not among the first ``k``. Its mean
    over users is MRR@k.

    Example:
        >>> reciprocal_rank(np.array([[False, True, True]]), np.array([2]), k=3)
        array([0.5])
    """
    hits = hits[:, :k]
    return hits.any(axis=1) / (hits.argmax(axis=1) + 1)


METRICS = {
    "hr": hit_rate,
    "ndcg": ndcg,
    "precision": precision,
    "recall": recall,
    "map": average_precision,
    "mrr": reciprocal_rank,
}


def novelty(top: np.ndarray, counts: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """Mean self-information of the first ``k``, ``-log2((n_i + 1) / (M + 1))``, in bits: how far they
    are from what everyone has (Vargas and Castells, "Rank and Relevance in Novelty and Diversity
    Metrics", 2011; one is added so that items nobody chose have a finite value).

    Args:
        top: Recommended item codes by rank, shape ``[U, k_max]``; -1 where a list is shorter.
        counts: Users who chose each item in training, ``n_i``, shape ``[N]``.
        n_users: Users ``M``.
        k: Length of the lists.

    Returns:
        One value per user, shape ``[U]``; 0 if everyone has chosen all of the list.

    Example:
        >>> novelty(np.array([[0, 1]]), counts=np.array([3, 0]), n_users=3, k=2)  # (0 + 2 bits) / 2
        array([1.])
    """
    bits = -np.log2((counts + 1) / (n_users + 1))
    return np.ma.masked_array(bits[top[:, :k]], top[:, :k] < 0).mean(axis=1).filled(0)


def coverage(top: np.ndarray, n_items: int, k: int) -> float:
    """Share of the catalogue that is among the first ``k`` of anyone, in ``[0, 1]``.

    Example:
        >>> coverage(np.array([[0, 1], [1, 0]]), n_items=4, k=2)
        0.5
    """
    return len(np.setdiff1d(top[:, :k], -1)) / n_items


def gini(top: np.ndarray, n_items: int, k: int) -> float:
    """Gini coefficient of how often each item of the catalogue is among someone's first ``k``: 0 if all
    are equally often, towards 1 if a few take all the places.

    Example:
        >>> gini(np.array([[0, 1], [2, 3]]), n_items=4, k=2)
        0.0
        >>> gini(np.array([[0], [0], [0]]), n_items=4, k=1)
        0.75
    """
    top = top[:, :k]
    often = np.sort(np.bincount(top[top >= 0], minlength=n_items))
    rank = np.arange(1, n_items + 1)
    return float((2 * rank - n_items - 1) @ often / (n_items * often.sum()))


def all_metrics(
    hits: np.ndarray, n_relevant: np.ndarray, ks: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Every metric at every ``k``: ``{"ndcg@10": [U], ..}``."""
    return {f"{name}@{k}": f(hits, n_relevant, k) for name, f in METRICS.items() for k in ks}
