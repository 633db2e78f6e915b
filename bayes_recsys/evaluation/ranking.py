"""Rank held-out items and report metrics with intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from numbers import Integral
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bayes_recsys.arguments import check_choice, check_kind, check_whole
from bayes_recsys.bars import bar
from bayes_recsys.data.history import check_split
from bayes_recsys.data.splits import Split
from bayes_recsys.distributed import Group
from bayes_recsys.evaluation.metrics import all_metrics, coverage, gini, novelty
from bayes_recsys.evaluation.protocols import PROTOCOLS, Case, cases, check_part
from bayes_recsys.evaluation.result import Evaluation
from bayes_recsys.memory import memory_kept
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive
from bayes_recsys.streams import stream

KS = (5, 10, 20, 50)
# Scores of all users that are ranked together, at most.
AT_ONCE = 500_000


class Scorer(Protocol):
    """Anything that scores candidates: our models, a baseline, your own ranker."""

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` of candidate codes ``item [G, C]`` for users ``user [G]``; higher is
        better."""
        ...


def evaluate(
    scorer: Scorer,
    split: Split,
    *,
    protocol: str = "full",
    part: str = "test",
    ks: Sequence[int] = KS,
    seed: int = 0,
    progress: bool = True,
    distributed: bool = False,
) -> Evaluation:
    """Rank every user's held-out items and compute HR, NDCG, precision, recall, MAP and MRR, and
    novelty, coverage and Gini coefficient of what is recommended.

    Users without an item in ``part`` are left out. Ties are broken at random (seeded), never in
    favour of the positives or of low item codes: a scorer that says the same of every item gets
    what chance gives.

    Args:
        scorer: Anything with ``score(user [G], item [G, C]) -> [G, C]``.
        split: The split.
        protocol: ``"full"`` (whole catalogue) or ``"sampled"`` (99 negatives per positive).
        part: ``"test"``, ``"validation"`` or ``"leave_one_out"``.
        ks: Cut-offs, each at least 1.
        seed: Seed of the sampled candidates and of the tie-break.
        progress: Show a progress bar (in a terminal, after some seconds).
        distributed: Every process of torch's default group calls this at once and ranks a share of the
            users; all return the same, to the digit what one alone returns.

    Returns:
        Every user's metrics, and those of all lists together; it prints means with intervals.

    Raises:
        ValueError: An argument is out of range, no user has an item in ``part``, a model or baseline
            was made from another split, or the scorer returns NaN or another shape.
        TypeError: ``scorer`` has no ``score`` or is a class, or ``split`` is no split.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> found = br.evaluate(br.baselines.Popularity(split), split, ks=(5, 10))
        >>> found.per_user.shape, list(found.per_user)[:2]
        ((20, 14), ['hr@5', 'hr@10'])
    """
    if isinstance(scorer, type):
        raise TypeError(f"{scorer.__name__} is a class; give a scorer made of it")
    if not hasattr(scorer, "score"):
        check_kind(scorer, Model, "a scorer, which has score(user, item),")
    check_kind(split, Split, "a split (data.split(..))")
    _check_fitted_to(scorer, split)
    group = Group.of(distributed)
    check_whole("seed", seed, least=0)
    check_part(part)
    check_choice("protocol", protocol, PROTOCOLS)
    ks = _checked_cut_offs(ks)
    return rank(scorer, split, protocol, part, ks, seed, progress and group.first, group)


@memory_kept()
def rank(
    scorer: Scorer,
    split: Split,
    protocol: str,
    part: str,
    ks: tuple[int, ...],
    seed: int,
    progress: bool = False,
    group: Group = Group(),
) -> Evaluation:
    """:func:`evaluate` without its checks, for who ranks the same again and again."""
    digest = hashlib.sha256()
    users, found, n_relevant = [], [], []
    n_users = int((split.items_by_user(part).lengths > 0).sum())
    with bar("user", f"evaluate {protocol}", n_users, shown=progress) as done:
        windows = _windows(cases(split, protocol, part, seed), split.interactions.n_items)
        for number, together in enumerate(windows):
            for user, candidates, relevant in together:
                for of_case in (np.array(user), candidates, relevant):
                    digest.update(of_case.tobytes())
                users.append(user)
                n_relevant.append(int(relevant.sum()))
            if number % group.size == group.rank:
                k = min(max(ks), split.interactions.n_items)
                found.append(_found(scorer, split, together, k, seed))
            done.update(len(together))
    if not users:
        raise ValueError(f"no user has an item in the {part} part of {split!r}")
    hits, top = map(np.concatenate, zip(*group.gathered(found), strict=True))
    n_relevant = np.array(n_relevant)
    n_users, n_items = split.interactions.n_users, split.interactions.n_items
    counts = np.bincount(split.interactions.item[split.train], minlength=n_items)
    values = all_metrics(hits, n_relevant, ks)
    values |= {f"novelty@{k}": novelty(top, counts, n_users, k) for k in ks}
    together = [{"coverage": coverage(top, n_items, k), "gini": gini(top, n_items, k)} for k in ks]
    index = pd.Index(split.interactions.user_ids[users], name="user")
    per_user, catalogue = pd.DataFrame(values, index), pd.DataFrame(together, pd.Index(ks))
    return Evaluation(protocol, part, per_user, catalogue, digest.hexdigest())


def _found(
    scorer: Scorer, split: Split, window: list[Case], k: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each case the best ``k``: which are hits ``[n, k]``, and the items ``[n, k]``, -1 where there is none."""
    hits, tops = [], []
    best = _best(scorer, split, window, k, seed)
    for (_, candidates, relevant), of_case in zip(window, best, strict=True):
        rest = (0, k - len(of_case))
        hits.append(np.pad(relevant[of_case], rest))
        tops.append(np.pad(candidates[of_case], rest, constant_values=-1))
    return np.array(hits), np.array(tops)


def _windows(every: Iterable[Case], n_items: int) -> Iterator[list[Case]]:
    """Cases so many together that a scorer may well score all ``n_items`` for each."""
    every = iter(every)
    while together := list(islice(every, max(1, AT_ONCE // n_items))):
        yield together


def _best(scorer: Scorer, split: Split, window: list[Case], k: int, seed: int) -> list[np.ndarray]:
    """The best ``k`` of each case's candidates, by falling score, as positions."""
    best: list[np.ndarray] = [None] * len(window)
    order = sorted(range(len(window)), key=lambda c: len(window[c][1]))
    while order:
        widest = len(window[order[-1]][1])
        # Lists are filled up to the longest; with those of more than half its length.
        alike = [c for c in order if 2 * len(window[c][1]) > widest]
        order = order[: len(order) - len(alike)]
        users = torch.tensor([window[c][0] for c in alike])
        filled = np.stack([_filled(window[c][1], widest) for c in alike])
        score = _checked_scores(scorer, split, users, torch.from_numpy(filled))
        for row, case in enumerate(alike):
            user, candidates, _ = window[case]
            best[case] = _order(score[row, : len(candidates)], k, seed, user)
    return best


def _filled(items: np.ndarray, width: int) -> np.ndarray:
    """As many, the last one repeated."""
    return np.pad(items, (0, width - len(items)), mode="edge")


def _order(score: Tensor, k: int, seed: int, user: int) -> np.ndarray:
    """The best ``k`` positions by falling score ``[C]``; those that tie in an order of chance, the user's own."""
    top = score.topk(min(k + 1, len(score)))
    if not (top.values[1:] == top.values[:-1]).any():
        return top.indices[:k].cpu().numpy()
    # A whole stable sort: whom a tie favours must not depend on the cut-offs.
    shuffled = stream("tie-break", seed, user).permutation(len(score))
    order = score[torch.from_numpy(shuffled)].sort(descending=True, stable=True).indices
    return shuffled[order[:k].cpu().numpy()]


def _checked_scores(scorer: Scorer, split: Split, user: Tensor, item: Tensor) -> Tensor:
    """Scores ``[G, C]``, none of them NaN."""
    score = scorer.score(user, item)
    if not isinstance(score, Tensor) or score.shape != item.shape:
        raise ValueError(
            f"score(user [G], item [G, C]) must return a tensor [G, C]; for {len(user)} users and "
            f"{item.shape[1]} items it returned {getattr(score, 'shape', type(score).__name__)}"
        )
    if score.isnan().any():
        row, column = score.isnan().nonzero()[0].tolist()
        name = split.interactions.item_ids[int(item[row, column])]
        user_id = split.interactions.user_ids[int(user[row])]
        raise ValueError(f"the score of item '{name}' for user '{user_id}' is NaN")
    return score


def _checked_cut_offs(ks: Sequence[int]) -> tuple[int, ...]:
    given = ks if isinstance(ks, (Sequence, np.ndarray)) and not isinstance(ks, str | bytes) else ()
    right = [int(k) for k in given if isinstance(k, Integral) and k >= 1]
    if not right or len(set(right)) < len(given):
        raise ValueError(
            f"ks must be a sequence of different whole numbers of at least 1, not {ks!r}"
        )
    return tuple(right)


def _check_fitted_to(scorer: Scorer, split: Split) -> None:
    """Refuse a model or baseline of another split: it may know what is held out here."""
    if isinstance(scorer, (Model, Predictive)):
        check_split(scorer.histories, split)
    own = getattr(scorer, "split", None)
    if isinstance(own, Split) and own is not split:
        theirs, ours = (one.items_by_user("train") for one in (own, split))
        same = theirs.values.shape == ours.values.shape and torch.equal(theirs.values, ours.values)
        if not same or not torch.equal(theirs.offsets, ours.offsets):
            raise ValueError(
                f"{type(scorer).__name__} was fitted to the training part of another split"
            )
