"""Which candidates a user's held-out items are ranked against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bayes_recsys.data.split import Split

Case = tuple[int, np.ndarray, np.ndarray]
"""User code, candidate codes ``[C]``, and which of them are relevant ``[C]``."""


def full(split: Split, part: str) -> Iterator[Case]:
    """Rank against the whole catalogue.

    Candidates are all items but those the user interacted with in the *other* parts: for
    ``"test"``, training and validation items are masked. Items never seen in training stay.
    """
    relevant, everything = split.items_by_user(part), split.items_by_user()
    for user in relevant.lengths.nonzero()[:, 0].tolist():
        is_relevant = np.zeros(split.interactions.n_items, dtype=bool)
        is_relevant[relevant.row(user).numpy()] = True
        masked = np.zeros_like(is_relevant)
        masked[everything.row(user).numpy()] = True
        candidates = np.flatnonzero(is_relevant | ~masked)
        yield user, candidates, is_relevant[candidates]


def sampled(split: Split, part: str, *, negatives: int = 99, seed: int = 0) -> Iterator[Case]:
    """Rank against ``negatives`` random items for each positive, all of a user's positives in
    one list.

    Negatives are drawn without repeats from the items that the user never touched in any part; a
    user with more positives than the catalogue can serve gets every such item once.

    Warning:
        The seeds' protocol, for comparison with published figures. Sampled metrics are not the
        metrics of the full ranking and may order models differently (Krichene and Rendle, "On
        Sampled Metrics for Item Recommendation", 2020).
    """
    relevant, everything = split.items_by_user(part), split.items_by_user()
    for user in relevant.lengths.nonzero()[:, 0].tolist():
        positives = relevant.row(user).numpy()
        untouched = np.ones(split.interactions.n_items, dtype=bool)
        untouched[everything.row(user).numpy()] = False
        pool = np.flatnonzero(untouched)
        # Seeded by user, so that a user's list does not depend on who else is evaluated.
        rng = np.random.default_rng([seed, user])
        drawn = rng.choice(pool, min(negatives * len(positives), len(pool)), replace=False)
        candidates = np.concatenate([positives, drawn])
        yield user, candidates, np.arange(len(candidates)) < len(positives)


PROTOCOLS = ("full", "sampled")


def cases(split: Split, protocol: str, part: str, seed: int) -> Iterator[Case]:
    """The cases of a protocol by name.

    Raises:
        ValueError: The protocol or part is unknown.
    """
    if part not in ("validation", "test", "leave_one_out"):
        raise ValueError(f"part must be validation, test or leave_one_out, not {part!r}")
    if protocol == "full":
        return full(split, part)
    if protocol == "sampled":
        return sampled(split, part, seed=seed)
    raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
