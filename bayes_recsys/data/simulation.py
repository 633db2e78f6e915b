"""Interactions drawn from the attention model itself, with the attention known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayes_recsys.arguments import check_number, check_whole
from bayes_recsys.data.interactions import Interactions
from bayes_recsys.memory import check_memory
from bayes_recsys.streams import stream


@dataclass(frozen=True)
class Synthetic:
    """A simulated data set and its truth.

    Args:
        interactions: What a model gets to see; timestamps are the order of events.
        user: User vectors ``p``, shape ``[M, K]``.
        item: Target vectors ``q``, shape ``[N, K]``.
        history: History vectors ``h`` (keys and values), shape ``[N, K]``.
        scale: Standard deviation of ``ln s`` around its energy.
    """

    interactions: Interactions
    user: np.ndarray
    item: np.ndarray
    history: np.ndarray
    scale: float

    def user_attention(self, user: int, history: np.ndarray) -> np.ndarray:
        """True weights of ``history [L]`` for ``user``, scores at their mean, shape ``[L]``."""
        return _weights(self.user[user] @ self.history[history].T)

    def item_attention(self, item: int, history: np.ndarray) -> np.ndarray:
        """True weights of ``history [L]`` for the target ``item``, scores at their mean: the
        softmax of ``q_i · h_j``, shape ``[L]``."""
        return _weights(self.item[item] @ self.history[history].T)

    def logits(self, user: int, history: np.ndarray) -> np.ndarray:
        """True logits of every item given ``history [L]``, scores at their mean, shape ``[N]``."""
        of_user = self.user_attention(user, history) @ self.history[history]
        of_item = _weights(self.item @ self.history[history].T) @ self.history[history]
        return of_item @ of_user


def synthetic(
    *,
    n_users: int = 200,
    n_items: int = 300,
    dim: int = 8,
    groups: int = 12,
    length: tuple[int, int] = (10, 30),
    scale: float = 0.1,
    seed: int = 0,
) -> Synthetic:
    """Simulate users who choose by attention over what they chose before.

    The first item of a user is drawn with odds ``exp(p_u · q_i)``. Each further one is drawn, from
    the items not yet taken, with odds ``exp(c_u · c_i)``, where ``c_u`` and ``c_i`` pool the
    user's items so far with log-normal scores of mean ``exp(p_u · h_j)`` and ``exp(q_i · h_j)``,
    normalised to one. This is BAMF with ``combine="context"``, ``energy="dot"`` and ``beta=1``.
    Vectors gather around ``groups`` centres, so that there is something to attend to.

    Args:
        n_users, n_items: Size of the data; ids are ``"0"``, ``"1"``, ...
        dim: Length ``K`` of the vectors.
        groups: Number of tastes.
        length: Fewest and most items of a user; drawn uniformly.
        scale: Standard deviation of ``ln s``.
        seed: Seed of everything.

    Raises:
        ValueError, TypeError: A number is out of range or none, or ``length`` is not ``1 <= fewest <= most < n_items``.

    Example:
        >>> synthetic(n_users=20, n_items=50, seed=0).interactions.n_users
        20
    """
    for name, size in (
        ("n_users", n_users),
        ("n_items", n_items),
        ("dim", dim),
        ("groups", groups),
    ):
        check_whole(name, size)
    check_number("scale", scale, above=0)
    fewest, most = length
    if not 1 <= fewest <= most < n_items:
        raise ValueError(f"length must satisfy 1 <= fewest <= most < n_items, not {length}")
    # Contexts, and a step's scores and weights.
    size = n_users * n_items * (16.0 * (2 + dim) + 32.0 * most)
    check_memory(size, "the simulation", "n_users, n_items or length")
    rng = stream("synthetic", seed)
    centre = rng.normal(size=(groups, dim)) * np.sqrt(6.0 / dim)
    # A target and a history entry of one item are the same thing seen from two sides.
    taste, kind = rng.integers(groups, size=n_users), rng.integers(groups, size=n_items)
    user, item, history = (
        centre[group] + 0.2 * rng.normal(size=(len(group), dim)) for group in (taste, kind, kind)
    )
    wanted = rng.integers(fewest, most + 1, size=n_users)
    chosen = np.zeros((n_users, most), dtype=np.int64)
    taken = np.zeros((n_users, n_items), dtype=bool)
    everyone = np.arange(n_users)
    logit = user @ item.T
    for step in range(most):
        gumbel = rng.gumbel(size=logit.shape)
        chosen[:, step] = np.where(taken, -np.inf, logit + gumbel).argmax(axis=1)
        taken[everyone, chosen[:, step]] = True
        past = history[chosen[:, : step + 1]]  # [M, L, K]
        c_u = _pool(np.einsum("mk,mlk->ml", user, past)[:, None], past, scale, rng)
        c_i = _pool(np.einsum("nk,mlk->mnl", item, past), past, scale, rng)
        logit = np.einsum("mnk,mnk->mn", np.broadcast_to(c_u, c_i.shape), c_i)
    rows, steps = np.nonzero(np.arange(most) < wanted[:, None])
    return Synthetic(
        Interactions(
            user=rows,
            item=chosen[rows, steps],
            user_ids=np.arange(n_users).astype(str),
            item_ids=np.arange(n_items).astype(str),
            timestamp=steps,
            name="synthetic",
        ),
        user,
        item,
        history,
        scale,
    )


def _weights(log_score: np.ndarray) -> np.ndarray:
    score = np.exp(log_score - log_score.max(axis=-1, keepdims=True))
    return score / score.sum(axis=-1, keepdims=True)


def _pool(energy: np.ndarray, past: np.ndarray, scale: float, rng) -> np.ndarray:
    """Contexts ``[M, C, K]`` from energies ``[M, C, L]`` with freshly drawn scores."""
    noise = scale * rng.normal(size=energy.shape) - 0.5 * scale**2
    return _weights(energy + noise) @ past
