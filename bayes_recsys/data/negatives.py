"""Items drawn as negatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bayes_recsys.arguments import check_choice, check_kind
from bayes_recsys.data.interactions import DataError
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.data.splits import Split

# Entries that are drawn for together.
AT_ONCE = 1_000_000


@dataclass(frozen=True)
class NegativeSampler:
    """Uniform draws, with repeats, from the items outside each user's excluded set.

    Args:
        excluded: Items that are never drawn, per user, sorted.
        n_items: Number of items ``N``.
    """

    excluded: Ragged
    n_items: int

    def check(self, user: Tensor) -> None:
        """Refuse users ``[n]`` with every item (``DataError``): there is nothing to draw."""
        full = self.excluded.lengths[user] >= self.n_items
        if full.any():
            raise DataError(
                f"user code {int(user[full][0])} interacted with all {self.n_items} items: "
                "there is no negative to draw; drop such users"
            )

    def draw(self, user: Tensor, count: int, rng: np.random.Generator) -> Tensor:
        """``count`` negatives for each entry of ``user [n]``, shape ``[n, count]``.

        Raises:
            DataError: A user interacted with every item, so there is nothing to draw.
        """
        self.check(user)
        # In parts: a search for millions takes many times their memory.
        return torch.cat([self._drawn(part, count, rng) for part in user.split(AT_ONCE)])

    def _drawn(self, user: Tensor, count: int, rng: np.random.Generator) -> Tensor:
        rows = user[:, None].expand(-1, count).reshape(-1)
        drawn = torch.from_numpy(rng.integers(0, self.n_items, len(rows)))
        again = self.excluded.contains(rows, drawn).nonzero()[:, 0]
        while len(again):
            drawn[again] = torch.from_numpy(rng.integers(0, self.n_items, len(again)))
            again = again[self.excluded.contains(rows[again], drawn[again])]
        return drawn.reshape(-1, count)


def check_negatives(count: int | None, n_items: int) -> None:
    """Refuse more negatives to a positive than there are items (``ValueError``)."""
    if count is not None and count > n_items:
        raise ValueError(
            f"negatives={count}, but there are only {n_items} items; negatives=None takes them all"
        )


def negative_sampler(split: Split, exclude: str = "train") -> NegativeSampler:
    """The sampler for training.

    Args:
        split: The split.
        exclude: ``"train"``: a user's training positives are never negatives. What a user will
            like but training cannot know *is* drawn, as it must be. ``"all"``: items of the
            user's validation and test parts (all of the user's items) are excluded too. **This is a leak**: held-out
            positives are then the only unseen items never pushed down. It is the setting of the
            public implementations, lifts NDCG@10 considerably, and is here to reproduce them.

    Raises:
        ValueError: ``exclude`` is neither.
    """
    check_kind(split, Split, "a split (data.split(..))")
    check_choice("negatives_exclude", exclude, ("train", "all"))
    excluded = split.items_by_user("train") if exclude == "train" else split.items_by_user()
    return NegativeSampler(excluded, split.interactions.n_items)
