"""Which differences between models are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bayes_recsys.arguments import check_number
from bayes_recsys.evaluation.result import Evaluation

# Test items for each training item where a split is 8:1:1.
OVERLAP = 1 / 8


def compare(
    evaluations: Mapping[str, Evaluation | Sequence[Evaluation]],
    metric: str = "ndcg@10",
    *,
    against: str,
    confidence: float = 0.95,
    overlap: float = OVERLAP,
) -> pd.DataFrame:
    """Means with intervals, and paired differences from one of the models.

    Users and seeds are two crossed samples: a user is the same user in every seed. A mean over both varies
    by users, by seeds, and by what is left, and its variance is the sum of the three (Searle, Casella and
    McCulloch, "Variance Components", 1992, chapter 4):

    ``V = (MS_users + MS_seeds - MS_rest) / (users · seeds)``

    of the mean squares of a two-way layout, and at least what users or seeds alone give. Splits of the same data
    share most of what they train on, so that seeds differ less than new data would: ``MS_seeds`` counts
    ``1 + seeds · overlap`` times (Nadeau and Bengio, "Inference for the Generalization Error", 2003). Intervals and
    ``p`` are those of Student's t, with Satterthwaite's degrees of freedom, no fewer than those of the users or
    of the seeds, whichever are fewer: wide where a few seeds differ much (a bootstrap of a few seeds is far too narrow
    there). ``p_holm`` is adjusted for all comparisons of the table (Holm, 1979). With a single seed this is
    the paired t test over users, which says nothing about seeds. With two or three, a small ``p`` may be
    several times too small where seeds differ; give five.

    Name the model to compare ``against`` before you see the figures; the best of many is best by luck too.

    Args:
        evaluations: By name, the evaluation of a model, or one for every seed, in the same order for
            all models; all of the same users, and those of a seed of the same cases (the same split, and
            the same sampled candidates).
        metric: A column of ``Evaluation.per_user``.
        against: Name of the model that the others are compared with.
        confidence: Of the intervals.
        overlap: Test items for each training item in the splits of the seeds, 1/8 where they are 8:1:1; 0 where
            seeds are of new data, or of models alone.

    Returns:
        One row per model, by falling mean; columns ``mean``, ``low``, ``high``, ``difference``,
        ``difference_low``, ``difference_high``, ``p``, ``p_holm`` (the last five NaN in the row of
        ``against``).

    Raises:
        ValueError: ``against`` or ``metric`` is unknown, or evaluations are not of the same protocol,
            part, number of seeds, users or cases; there are fewer than two users, a value is not finite,
            or ``confidence`` or ``overlap`` is out of range.
        TypeError: ``evaluations`` is no mapping of names.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=60, n_items=80, seed=0).interactions)
        >>> scorers = {"popularity": br.baselines.Popularity(split), "EASE": br.baselines.EASE(split)}
        >>> evaluations = {name: br.evaluate(scorer, split) for name, scorer in scorers.items()}
        >>> br.compare(evaluations, against="popularity").index.tolist()
        ['EASE', 'popularity']
    """
    if not isinstance(evaluations, Mapping):
        raise TypeError("evaluations must be by name: {'EASE': evaluation, ..}")
    by_name = {n: [e] if isinstance(e, Evaluation) else list(e) for n, e in evaluations.items()}
    _check(by_name, metric, against)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), not {confidence}")
    check_number("overlap", overlap, least=0)
    values = {
        name: np.array([one.per_user[metric] for one in ones], float)
        for name, ones in by_name.items()
    }
    if len(by_name[against][0].per_user) < 2 or not all(
        np.isfinite(v).all() for v in values.values()
    ):
        raise ValueError(f"{metric!r} must be finite, of at least two users")
    rows = []
    for name, of_model in values.items():
        mean, error, freedom = crossed_mean(of_model, overlap)
        half = error * stats.t.ppf((1 + confidence) / 2, freedom)
        row = {"model": name, "mean": mean, "low": mean - half, "high": mean + half}
        if name != against:
            apart, error, freedom = crossed_mean(of_model - values[against], overlap)
            half = error * stats.t.ppf((1 + confidence) / 2, freedom)
            row |= {
                "difference": apart,
                "difference_low": apart - half,
                "difference_high": apart + half,
            }
            row["p"] = 2 * stats.t.sf(abs(apart) / max(error, 1e-300), freedom)
        rows.append(row)
    columns = ["difference", "difference_low", "difference_high", "p"]
    table = pd.DataFrame(rows).set_index("model").reindex(columns=["mean", "low", "high", *columns])
    table["p_holm"] = holm(table["p"])
    return table.sort_values("mean", ascending=False)


def crossed_mean(values: np.ndarray, overlap: float = 0.0) -> tuple[float, float, float]:
    """Mean of ``values [seeds, users]``, its standard error as of two crossed samples, and the degrees of
    freedom of that; see :func:`compare`.

    Example:
        >>> crossed_mean(np.array([[0.0, 2.0, 4.0]]))  # one seed: the standard error over users
        (2.0, 1.1547005383792515, 2.0)
    """
    n_seeds, n_users = values.shape
    mean = values.mean()
    of_seed, of_user = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    freedom = np.array([n_users - 1, n_seeds - 1, (n_users - 1) * (n_seeds - 1)], float)
    squares = [
        n_seeds * ((of_user - mean) ** 2).sum(),
        n_users * ((of_seed - mean) ** 2).sum(),
        ((values - of_seed - of_user + mean) ** 2).sum(),
    ]
    parts = np.array(squares) / freedom.clip(1) / values.size
    parts[1] *= 1 + n_seeds * overlap
    users, seeds, rest = parts
    variance = max(users + seeds - rest, users, seeds)
    if variance == 0:
        return float(mean), 0.0, float(n_users - 1)
    satterthwaite = variance**2 / (parts**2 / freedom.clip(1)).sum()
    least = min(one for one in freedom if one)
    return float(mean), float(variance**0.5), float(max(satterthwaite, least))


def holm(p: pd.Series) -> pd.Series:
    """p-values adjusted for their number by Holm's step-down method (1979); NaN is no comparison.

    Example:
        >>> holm(pd.Series([0.04, 0.01, float("nan"), 0.03])).tolist()
        [0.06, 0.03, nan, 0.06]
    """
    ordered = p.dropna().sort_values()
    adjusted = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
    return adjusted.reindex(p.index)


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
        for seed, (one, other) in enumerate(zip(ones, reference, strict=True)):
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
            if one.cases != other.cases:
                raise ValueError(
                    f"{name!r} and {against!r} did not rank the same cases (evaluation {seed} of each): "
                    "evaluate them on the same split with the same seed, in the same order"
                )
