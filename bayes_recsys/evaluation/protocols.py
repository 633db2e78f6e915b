"""Which candidates a user's held-out items are ranked against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bayes_recsys.arguments import check_choice
from bayes_recsys.data.splits import Split
from bayes_recsys.streams import stream

Case = tuple[int, np.ndarray, np.ndarray]
"""User code, candidate codes ``[C]``, and which of them are relevant ``[C]``."""


_KNOWN = {
    "test": ("train", "validation"),
    "validation": ("train",),
    "leave_one_out": ("train", "validation"),
}
"""What is known of a user when a part is ranked; later parts are not, and are no exception among
the negatives."""


def full(split: Split, part: str) -> Iterator[Case]:
    """Rank against the whole catalogue.

    Candidates are all items but those known of the user by then: for ``"test"``, training and
    validation items are masked. Items never seen in training stay.
    """
    for user, relevant, other in _relevant_and_other(split, part):
        is_relevant = np.zeros(split.interactions.n_items, dtype=bool)
        is_relevant[relevant] = True
        candidates = np.flatnonzero(is_relevant | other)
        yield user, candidates, is_relevant[candidates]


def sampled(split: Split, part: str, *, negatives: int = 99, seed: int = 0) -> Iterator[Case]:
    """Rank against ``negatives`` random items for each positive, all of a user's positives in
    one list.

    Negatives are drawn without repeats from the items that the user is not known to have touched:
    for ``"test"`` those in none of the user's parts. A user with more positives than the catalogue
    can serve gets every such item once.

    Warning:
        The papers' protocol, for comparison with published figures. Sampled metrics are not the
        metrics of the full ranking and may order models differently (Krichene and Rendle, "On
        Sampled Metrics for Item Recommendation", 2020).
    """
    for user, relevant, other in _relevant_and_other(split, part):
        pool = np.flatnonzero(other)
        # Seeded by user, so that a user's list does not depend on who else is evaluated, and by part,
        # so that training is not stopped by the very items it is judged by.
        rng = stream("candidates", seed, PARTS.index(part), user)
        drawn = rng.choice(pool, min(negatives * len(relevant), len(pool)), replace=False)
        candidates = np.concatenate([relevant, drawn])
        yield user, candidates, np.arange(len(candidates)) < len(relevant)


def _relevant_and_other(split: Split, part: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """User, relevant items ``[P]``, and whether each item is neither relevant nor known ``[N]``."""
    relevant, known = split.items_by_user(part), split.items_by_user(*_KNOWN[part])
    for user in relevant.lengths.nonzero()[:, 0].tolist():
        items = relevant.row(user).numpy()
        other = np.ones(split.interactions.n_items, dtype=bool)
        other[known.row(user).numpy()] = False
        other[items] = False
        yield user, items, other


PARTS = tuple(_KNOWN)


def check_part(part: str) -> None:
    """Refuse a part that is not held out (``ValueError``)."""
    check_choice("part", part, PARTS)


PROTOCOLS = ("full", "sampled")


def cases(split: Split, protocol: str, part: str, seed: int) -> Iterator[Case]:
    """The cases of a protocol by name.

    Raises:
        ValueError: The protocol or part is unknown.
    """
    check_part(part)
    check_choice("protocol", protocol, PROTOCOLS)
    return full(split, part) if protocol == "full" else sampled(split, part, seed=seed)
