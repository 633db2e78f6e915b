"""Does it help to know what is not known? Serve only the users a model is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
import torch
from scipy import stats

from bayes_recsys.data.history import check_split
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.protocols import cases
from bayes_recsys.evaluation.result import check_resampling
from bayes_recsys.likelihoods import NoProbability
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive
from bayes_recsys.streams import stream


def list_uncertainty(
    predictive: Predictive | Model,
    split: Split,
    *,
    part: str = "test",
    k: int = 10,
    shortlist: int = 100,
) -> pd.DataFrame:
    """How unsure a model is of each user's list, the first ``k`` of the catalogue by ``score``.

    Args:
        predictive: Any :class:`~bayes_recsys.posterior.predictive.Predictive`; a model is its posterior.
        split: The split of its histories.
        part: The part that is ranked; what is known before is left out as in ``evaluate``.
        k: Length of the lists, at least 1.
        shortlist: Candidates by score among which the list of a single draw is looked for.

    Returns:
        One row per user with an item in ``part`` (index: user id); higher is less sure:

        ``spread``
            mean over the list of the standard deviation of the logit's draws
        ``disagreement``
            share of the list that is not among the first ``k`` of a draw, mean over draws
        ``doubt``
            one minus the mean predictive probability of the list: what a deterministic model has too;
            absent where the model's likelihood knows no probability

    Raises:
        ValueError: ``k`` is below 1 or above ``shortlist``, ``part`` is unknown or empty, or the model was
            made from another split.
        TypeError: ``predictive`` has no draws.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> list(list_uncertainty(model, split))
        ['spread', 'disagreement', 'doubt']
    """
    if not 1 <= k <= shortlist:
        raise ValueError(f"k must be in 1..{shortlist} (shortlist), not {k}")
    predictive = as_predictive(predictive)
    check_split(predictive.histories, split)
    rows = {}
    for user, candidates, _ in cases(split, "full", part, seed=0):
        code, item = torch.tensor([user]), torch.from_numpy(candidates)
        score = predictive.score(code, item[None])[0]
        item = item[score.topk(min(shortlist, len(item))).indices]
        logits = predictive.draw_logits(code, item[None])[:, 0]
        of_list = logits[:, :k]
        places = of_list.shape[1]
        row = rows[split.interactions.user_ids[user]] = {
            "spread": of_list.std(0, correction=min(1, len(of_list) - 1)).mean().item(),
            "disagreement": 1 - (logits.topk(places).indices < k).float().mean().item(),
        }
        with suppress(NoProbability):
            row["doubt"] = 1 - predictive.likelihood.probability(of_list).mean().item()
    if not rows:
        raise ValueError(f"no user has an item in the {part} part of {split!r}")
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("user")


def risk_coverage(quality: pd.Series, uncertainty: pd.Series) -> pd.DataFrame:
    """Risk of serving only the users with the least uncertainty.

    Args:
        quality: Of every user's list, in ``[0, 1]``: a column of ``Evaluation.per_user``.
        uncertainty: Of every user; the same index. Users who tie are served in random order: their
            expected risk is reported.

    Returns:
        Columns ``coverage`` (share of users served, from ``1/n`` to 1) and ``risk`` (one minus the mean
        quality of those served).

    Raises:
        ValueError: The indices differ, or a value is not finite.

    Example:
        >>> risk_coverage(pd.Series([0.0, 1.0]), pd.Series([0.7, 0.2]))
           coverage  risk
        0       0.5   0.0
        1       1.0   0.5
    """
    risk = _risks(*_aligned(quality, uncertainty))
    return pd.DataFrame({"coverage": np.arange(1, len(risk) + 1) / len(risk), "risk": risk})


def aurc(
    quality: Sequence[pd.Series],
    uncertainty: Sequence[pd.Series],
    *,
    groups: Sequence[pd.Series] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> pd.Series:
    """Area under the risk-coverage curve, and what part of the possible it gains.

    A user with many held-out items has a better list by any ranker, as there is more to hit. ``groups`` of
    users who are alike in that (deciles of their number of choices) say what an uncertainty knows besides:
    users are then ordered within their group only, and an area is the mean of those of the groups, weighted by
    their numbers of users.

    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers" (2019).

    Args:
        quality, uncertainty: As :func:`risk_coverage` takes them, one of each for every seed, all of the
            same users.
        groups: The group of every user, a series for every seed; default: one group of all.
        confidence: Of the interval of the gain.
        resamples: Bootstrap resamples of users, the same users in every seed.

    Returns:
        ``aurc``, mean risk over coverages; ``random``, that of serving users in random order; ``best``,
        of serving them by their quality; all three means over seeds. ``gain = (random - aurc) / (random -
        best)`` of these, 0 for an uncertainty that says nothing of quality (or a quality that is the same
        for all), 1 for one that says all; ``low`` and ``high`` of the gain.

    Raises:
        ValueError: The indices or the numbers of seeds differ, there is no seed or there are fewer than two users, a value is not
            finite, a user has no group or all have a group of their own, or ``confidence`` or
            ``resamples`` is out of range.
        TypeError: ``quality``, ``uncertainty`` or ``groups`` is no list of series.

    Example:
        >>> quality, uncertainty = pd.Series([0.0, 1.0, 1.0]), pd.Series([0.7, 0.1, 0.2])
        >>> aurc([quality], [uncertainty])[["aurc", "random", "gain"]]
        aurc      0.111111
        random    0.333333
        gain      1.000000
        dtype: float64
    """
    for given in (quality, uncertainty, () if groups is None else groups):
        if isinstance(given, pd.Series) or not all(isinstance(one, pd.Series) for one in given):
            raise TypeError(
                "quality, uncertainty and groups must be lists, one series for every seed"
            )
    check_resampling(confidence, resamples)
    if not quality:
        raise ValueError("at least one seed is needed")
    users = quality[0].index
    if len(users) < 2 or not all(q.index.equals(users) for q in quality):
        raise ValueError("at least two users are needed, the same with every seed")
    if any(len(quality) != len(given) for given in (uncertainty, groups or quality)):
        raise ValueError("quality, uncertainty and groups must be of equally many seeds")
    if groups is None:
        groups = [pd.Series(0, users)] * len(quality)
    of_seeds = [
        (*_aligned(q, u), _numbered(q, g))
        for q, u, g in zip(quality, uncertainty, groups, strict=True)
    ]

    def areas(chosen: np.ndarray) -> np.ndarray:
        return np.mean([_areas(*(of_user[chosen] for of_user in one)) for one in of_seeds], axis=0)

    everyone = np.arange(len(users))
    interval = stats.bootstrap(
        (everyone,), lambda chosen: _gain(*areas(chosen)), vectorized=False, method="percentile",
        confidence_level=confidence, n_resamples=resamples, rng=stream("bootstrap", 0),
    ).confidence_interval  # fmt: skip
    aurc_, random, best = areas(everyone)
    gain = _gain(aurc_, random, best)
    return pd.Series(
        {
            "aurc": aurc_,
            "random": random,
            "best": best,
            "gain": gain,
            "low": interval.low,
            "high": interval.high,
        }
    )


def _aligned(quality: pd.Series, uncertainty: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    if not quality.index.sort_values().equals(uncertainty.index.sort_values()):
        raise ValueError("quality and uncertainty are not of the same users")
    pair = quality.to_numpy(float), uncertainty.reindex(quality.index).to_numpy(float)
    if not np.isfinite(pair).all():
        raise ValueError("quality and uncertainty must be finite")
    return pair


def _numbered(quality: pd.Series, group: pd.Series) -> np.ndarray:
    """The group of every user as a number."""
    number, groups = pd.factorize(group.reindex(quality.index))
    if (number < 0).any():
        raise ValueError(f"user {quality.index[number < 0][0]!r} has no group")
    if len(groups) == len(number):
        raise ValueError("every user has a group of their own: there is nothing to order")
    return number


def _areas(quality: np.ndarray, uncertainty: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Area under the curve; of random order; of the best order: means over users of their group's."""
    total = np.zeros(3)
    for one in np.unique(group):
        q, u = quality[group == one], uncertainty[group == one]
        total += len(q) * np.array([_risks(q, u).mean(), 1 - q.mean(), _risks(q, -q).mean()])
    return total / len(quality)


def _gain(area: float, random: float, best: float) -> float:
    possible = random - best
    return (random - area) / possible if possible > 1e-9 else 0.0


def _risks(quality: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """Expected mean risk of the first 1, 2, .. users in order of uncertainty, ties in random order."""
    _, group, size = np.unique(uncertainty, return_inverse=True, return_counts=True)
    expected = (np.bincount(group, weights=quality) / size)[group]
    served = expected[np.argsort(group, kind="stable")]
    return 1 - served.cumsum() / np.arange(1, len(served) + 1)
