"""Whether probabilities are what they say, and what to do if they are not.

Every pair counts alike here, and therefore users by the number of their pairs; :func:`balanced` makes all
users count alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression

from bayes_recsys.arguments import check_whole
from bayes_recsys.streams import stream


def balanced(pairs: pd.DataFrame, *, of_user: int = 100, seed: int = 0) -> pd.DataFrame:
    """Equally many pairs of every user, drawn with replacement.

    In most data few users have most of the pairs, and what is right for these need not be right for the
    others. Means over users, as of :func:`~bayes_recsys.evaluation.probability.nll`, count users alike; to have the
    same of what is said here, give balanced pairs.

    Args:
        pairs: As :func:`~bayes_recsys.evaluation.probability.predicted_pairs` returns them.
        of_user: Pairs of a user.
        seed: Seed of the draw.

    Returns:
        A table like ``pairs``, which keeps their index: what was drawn twice has the same.

    Raises:
        ValueError: ``of_user`` is below 1.

    Example:
        >>> pairs = pd.DataFrame({"user": ["a", "b", "b", "b"], "probability": [0.1, 0.2, 0.3, 0.4]})
        >>> balanced(pairs, of_user=2)["user"].tolist()
        ['a', 'a', 'b', 'b']
    """
    if of_user < 1:
        raise ValueError(f"of_user must be at least 1, not {of_user}")
    return pairs.groupby("user", sort=False).sample(
        of_user, replace=True, random_state=stream("balanced pairs", seed)
    )


def reliability(pairs: pd.DataFrame, *, bins: int = 15) -> pd.DataFrame:
    """Observed frequency against predicted probability, in bins of equally many pairs.

    Args:
        pairs: As :func:`~bayes_recsys.evaluation.probability.predicted_pairs` returns them.
        bins: Number of bins; fewer where probabilities tie.

    Returns:
        Columns ``predicted`` and ``observed``, means of each bin.
    """
    observed, predicted = calibration_curve(
        pairs["label"], pairs["probability"], n_bins=bins, strategy="quantile"
    )
    return pd.DataFrame({"predicted": predicted, "observed": observed})


def calibration_error(pairs: pd.DataFrame) -> float:
    """Smooth calibration error, in ``[0, 1]``: how far frequencies are from probabilities, smoothed by a
    kernel of the width that the data allow instead of bins, whose number decides the result. Computed by
    the authors' library, relplot. Błasiok and Nakkiran, "Smooth ECE: Principled Reliability Diagrams via
    Kernel Smoothing" (2024).

    Chance alone makes it positive, the more the fewer the pairs: about 0.02 at a thousand and below 0.01
    at fifty thousand. :func:`calibration_floor` says what right probabilities would have.

    Args:
        pairs: As :func:`~bayes_recsys.evaluation.probability.predicted_pairs` returns them.

    Raises:
        ModuleNotFoundError: The library is absent.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p = rng.uniform(size=20_000)
        >>> right = pd.DataFrame({"probability": p, "label": rng.uniform(size=20_000) < p})
        >>> calibration_error(right) < 0.02
        True
        >>> calibration_error(right.assign(probability=p**2)) > 0.1
        True
    """
    error = smooth_error()
    return float(error(pairs["probability"].to_numpy(), pairs["label"].to_numpy(float)))


def smooth_error() -> Callable[[np.ndarray, np.ndarray], float]:
    """The library's own, of probabilities and labels.

    Raises:
        ModuleNotFoundError: The library is absent.
    """
    try:
        import relplot  # here, because it brings a plotting library along
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the smooth calibration error needs relplot: pip install "bayes_recsys[calibration]"'
        ) from error
    return relplot.smECE


def calibration_floor(pairs: pd.DataFrame, *, draws: int = 5, seed: int = 0) -> float:
    """The mean :func:`calibration_error` of the same probabilities if they were right: with labels drawn
    from them.

    Args:
        pairs: As :func:`~bayes_recsys.evaluation.probability.predicted_pairs` returns them.
        draws: Draws of the labels.
        seed: Their seed.
    """
    rng = stream("calibration floor", seed)
    p = pairs["probability"].to_numpy()
    # A pair that is there twice (balanced) has one label.
    row, different = pd.factorize(pairs.index)
    drawn = [rng.uniform(size=len(different))[row] < p for _ in range(draws)]
    return float(np.mean([calibration_error(pairs.assign(label=label)) for label in drawn]))


def recalibrated(pairs: pd.DataFrame, *, on: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the frequency that their probability had among other pairs, held out in training too:

    ``p' = f(p)``, ``f`` the non-decreasing function that predicts the labels of ``on`` best, linear in between.

    It mends whatever is wrong with probabilities as such, and never turns the order of two pairs around. To
    judge the result by means over users, let users count alike here too: ``on=balanced(..)``.
    Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates"
    (2002); computed by scikit-learn.

    Args:
        pairs: As :func:`~bayes_recsys.evaluation.probability.predicted_pairs` returns them.
        on: The same for another part, such as ``part="validation"``, with the same number of negatives;
            some thousands.

    Returns:
        A table like ``pairs``. Probabilities keep ``1 / (n + 2)`` away from 0 and 1, of ``n`` pairs of
        ``on``.

    Raises:
        ValueError: ``on`` is empty, or a probability is not between 0 and 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p = rng.uniform(size=20_000)
        >>> sure = p**3 / (p**3 + (1 - p) ** 3)  # logits three times too large
        >>> pairs = pd.DataFrame({"probability": sure, "label": rng.uniform(size=20_000) < p})
        >>> mended = recalibrated(pairs[:10_000], on=pairs[10_000:])
        >>> bool(np.abs(mended["probability"] - p[:10_000]).mean() < 0.02)
        True
    """
    if on.empty:
        raise ValueError("on is empty: other pairs are needed")
    for table in (pairs, on):
        if not table["probability"].between(0, 1).all():
            raise ValueError("probabilities must be between 0 and 1")
    least = 1 / (len(on) + 2)
    step = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    p = step.fit(on["probability"], on["label"]).predict(pairs["probability"])
    of_label = np.where(pairs["label"] == 1, p, 1 - p)
    return pairs.assign(probability=p, log_likelihood=np.log(of_label))


def corrected(probability: np.ndarray, *, negatives: int, prevalence: np.ndarray) -> np.ndarray:
    """Probabilities of a model trained with sampled negatives, for the candidates themselves:

    ``logit p' = logit p + ln(negatives) + logit(prevalence)``.

    A model that saw ``negatives`` random items per positive has learned odds that are too high by
    that sampling (King and Zeng, "Logistic Regression in Rare Events Data", 2001; Elkan, "The
    Foundations of Cost-Sensitive Learning", 2001). Negatives are taken for items that are not chosen; as
    held-out choices are among them, it is somewhat too low for a probable item.

    The correction is not linear: correct the probability of every draw, then average.

    Args:
        probability: Predicted probabilities, any shape.
        negatives: Negatives per positive in training.
        prevalence: The share of positives among the candidates, in (0, 1), broadcastable: for
            instance a user's expected number of new choices over the number of items that are new
            to them. Of probabilities ``[S, G, C]`` and a value for every user, ``[G, 1]``.

    Raises:
        ValueError: ``negatives`` is below 1, ``prevalence`` is not in (0, 1), or ``probability`` not in [0, 1].

    Example:
        >>> corrected(np.array([0.2, 0.5]), negatives=4, prevalence=0.001).round(5)
        array([0.001  , 0.00399])
    """
    prevalence = np.asarray(prevalence, dtype=float)
    check_whole("negatives", negatives)
    if not ((prevalence > 0) & (prevalence < 1)).all():
        raise ValueError("prevalence must be between 0 and 1")
    probability = np.asarray(probability, dtype=float)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probability must be between 0 and 1")
    return expit(logit(probability) + np.log(negatives) + logit(prevalence))
