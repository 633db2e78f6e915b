"""Which differences between models are more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bayes_recsys.evaluation.evaluate import Evaluation, check_resampling


def compare(
    evaluations: Mapping[str, Evaluation | Sequence[Evaluation]],
    metric: str = "ndcg@10",
    *,
    against: str,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Means with intervals, and paired differences from one of the models.

    Users are resampled and, where there are several, seeds, independently of each other (a user is the
    same user in every seed); a resample is shared by all models, so that differences are paired. The
    intervals are expanded percentile intervals, which are as wide for few users as those of Student's t
    (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015; for two crossed factors: Owen,
    "The Pigeonhole Bootstrap", 2007). ``p`` is the level at which that interval of the difference
    begins to hold zero; ``p_holm`` is adjusted for all comparisons of the table (Holm, 1979).

    One seed says nothing about seeds, a few say little: with five, what varies between them is
    underestimated by a fifth. Name the model to compare ``against`` before you see the figures; the best
    of many is best by luck too.

    Args:
        evaluations: By name, the evaluation of a model, or one for every seed, in the same order for
            all models; all of the same users.
        metric: A column of ``Evaluation.per_user``.
        against: Name of the model that the others are compared with.
        confidence: Of the intervals.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        One row per model, by falling mean; columns ``mean``, ``low``, ``high``, ``difference``,
        ``difference_low``, ``difference_high``, ``p``, ``p_holm`` (the last five NaN in the row of
        ``against``).

    Raises:
        ValueError: ``against`` or ``metric`` is unknown, or evaluations are not of the same protocol,
            part, number of seeds or users; there are fewer than two users, a value is not finite,
            or ``confidence`` or ``resamples`` is out of range.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=60, n_items=80, seed=0).interactions)
        >>> scorers = {"popularity": br.baselines.Popularity(split), "EASE": br.baselines.EASE(split)}
        >>> evaluations = {name: br.evaluate(scorer, split) for name, scorer in scorers.items()}
        >>> br.compare(evaluations, against="popularity").index.tolist()
        ['EASE', 'popularity']
    """
    by_name = {n: [e] if isinstance(e, Evaluation) else list(e) for n, e in evaluations.items()}
    _check(by_name, metric, against)
    check_resampling(confidence, resamples)
    values = np.array([[one.per_user[metric] for one in ones] for ones in by_name.values()], float)
    n_users = values.shape[2]
    if n_users < 2 or not np.isfinite(values).all():
        raise ValueError(f"{metric!r} must be finite, of at least two users")
    draws = np.concatenate(list(_resampled(values, resamples, np.random.default_rng(seed))), axis=1)
    reference = list(by_name).index(against)
    # The tail beyond which a percentile interval is as wide as Student's.
    tail = stats.norm.cdf(_stretch(n_users) * stats.t.ppf((1 - confidence) / 2, n_users - 1))
    tails = [tail, 1 - tail]
    rows = []
    for name, mean, drawn in zip(by_name, values.mean(axis=(1, 2)), draws, strict=True):
        low, high = np.quantile(drawn, tails)
        row = {"model": name, "mean": mean, "low": low, "high": high}
        if name != against:
            apart = drawn - draws[reference]
            row["difference"] = mean - values[reference].mean()
            row["difference_low"], row["difference_high"] = np.quantile(apart, tails)
            other_side = min((apart <= 0).sum(), (apart >= 0).sum())
            quantile = stats.norm.ppf((1 + other_side) / (1 + resamples)) / _stretch(n_users)
            row["p"] = min(1.0, 2 * stats.t.cdf(quantile, n_users - 1))
        rows.append(row)
    columns = ["difference", "difference_low", "difference_high", "p"]
    table = pd.DataFrame(rows).set_index("model").reindex(columns=["mean", "low", "high", *columns])
    table["p_holm"] = holm(table["p"])
    return table.sort_values("mean", ascending=False)


def holm(p: pd.Series) -> pd.Series:
    """p-values adjusted for their number by Holm's step-down method (1979); NaN is no comparison.

    Example:
        >>> holm(pd.Series([0.04, 0.01, float("nan"), 0.03])).tolist()
        [0.06, 0.03, nan, 0.06]
    """
    ordered = p.dropna().sort_values()
    adjusted = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
    return adjusted.reindex(p.index)


def _stretch(n_users: int) -> float:
    """A bootstrap's variance has n in the denominator, Student's n - 1."""
    return np.sqrt(n_users / (n_users - 1))


def _resampled(
    values: np.ndarray, resamples: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Means of resampled seeds and users of ``values [models, seeds, users]``, ``[models, ..]``, some
    resamples at a time."""
    _, n_seeds, n_users = values.shape
    for start in range(0, resamples, 500):
        size = min(500, resamples - start)
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size)
        users = rng.multinomial(n_users, np.full(n_users, 1 / n_users), size)
        yield np.einsum("rs,msr->mr", seeds, values @ users.T) / (n_seeds * n_users)


def _check(by_name: dict[str, list[Evaluation]], metric: str, against: str) -> None:
    if against not in by_name:
        raise ValueError(f"against={against!r} is none of {', '.join(map(repr, by_name))}")
    reference = by_name[against]
    users = reference[0].per_user.index if reference else None
    for name, ones in by_name.items():
        if len(ones) != len(reference) or not ones:
            raise ValueError(
                f"{name!r} has {len(ones)} evaluation(s) and {against!r} {len(reference)}: give one "
                "for each seed"
            )
        for one, other in zip(ones, reference, strict=True):
            if (one.protocol, one.part) != (other.protocol, other.part):
                raise ValueError(
                    f"{name!r} is of {one.protocol} ranking of the {one.part} part, {against!r} of "
                    f"{other.protocol} ranking of the {other.part} part"
                )
            if metric not in one.per_user:
                raise ValueError(
                    f"{name!r} has no {metric!r}; it has {', '.join(one.per_user.columns)}"
                )
            if not one.per_user.index.equals(users):
                raise ValueError(f"{name!r} and {against!r} were not evaluated on the same users")
