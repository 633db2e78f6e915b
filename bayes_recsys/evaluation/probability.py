"""How probable a model finds held-out choices."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import logsigmoid

from bayes_recsys.data.histories import check_split
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.data.split import Split
from bayes_recsys.evaluation.protocols import PARTS, check_part
from bayes_recsys.models.base import Model
from bayes_recsys.predictive import Predictive, as_predictive


def predicted_pairs(
    predictive: Predictive | Model,
    split: Split,
    *,
    part: str = "test",
    negatives: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Held-out positives and fresh negatives with their predictive probability.

    ``p = 1/S Σ_s σ(x⁽ˢ⁾)``: probabilities are averaged over draws, not logits. Negatives are drawn as
    in training: uniformly among items that are not the user's training positives. Probabilities are
    relative to their number; see :func:`~bayes_recsys.evaluation.calibration.corrected` for the whole
    catalogue.

    Args:
        predictive: A :class:`~bayes_recsys.predictive.Posterior`, ``DeepEnsemble`` or ``MCDropout`` of
            models fitted with ``Bernoulli(negatives)``; a model is its posterior.
        split: The split of its histories.
        part: ``"test"``, ``"validation"`` or ``"leave_one_out"``.
        negatives: Negatives per positive; the number a model was trained with.
        seed: Seed of the negatives.

    Returns:
        Columns ``user``, ``item`` (ids), ``label`` (0 or 1), ``probability`` (of a 1),
        ``log_likelihood`` (of the label, in nats).

    Raises:
        ValueError: ``part`` is unknown or empty, ``negatives`` is below 1, or the model was made from
            another split.
        TypeError: ``predictive`` has no draws.

    Note:
        A model fitted with ``BradleyTerry`` has logits to rank by, whose sigmoid is no probability.
    """
    predictive = as_predictive(predictive)
    check_part(part)
    if negatives < 1:
        raise ValueError(f"negatives must be at least 1, not {negatives}")
    check_split(predictive.histories, split)
    positives, sampler = split.items_by_user(part), negative_sampler(split)
    tables = []
    for user in positives.lengths.nonzero()[:, 0].tolist():
        positive = positives.row(user)
        # By part, so that what is fitted to one part is judged by other negatives.
        rng = np.random.default_rng([seed, user, PARTS.index(part)])
        negative = sampler.draw(torch.full_like(positive, user), negatives, rng)
        item = torch.cat([positive, negative.flatten()])
        logits = predictive.draw_logits(torch.tensor([user]), item[None])[:, 0].double()
        label = torch.arange(len(item)) < len(positive)
        sign = torch.where(label, 1.0, -1.0)
        columns = {
            "user": split.interactions.user_ids[user],
            "item": split.interactions.item_ids[item.numpy()],
            "label": label.long().numpy(),
            "probability": logits.sigmoid().mean(0).numpy(),
            "log_likelihood": (logsigmoid(sign * logits).logsumexp(0) - math.log(len(logits))),
        }
        tables.append(pd.DataFrame(columns))
    if not tables:
        raise ValueError(f"no user has an item in the {part} part of {split!r}")
    return pd.concat(tables, ignore_index=True)


def predictive_nll(
    predictive: Predictive | Model,
    split: Split,
    *,
    part: str = "test",
    negatives: int = 4,
    seed: int = 0,
) -> pd.Series:
    """Negative log predictive likelihood of :func:`predicted_pairs`, whose arguments it takes:

    ``-1/|pairs| Σ ln( 1/S Σ_s Bernoulli(y | σ(x⁽ˢ⁾)) )``.

    With ``Posterior(model, source="prior")`` the scores are drawn from their prior, the networks as
    they are: whether these networks rely on what the posterior knows. (What random scores are worth,
    a model fitted with ``Point()`` says.)

    Returns:
        Mean per pair in nats, one value per user with an item in ``part`` (index: user id). A
        model that knows nothing but the base rate ``1 / (1 + negatives)`` has 0.500 at 4
        negatives.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> round(float(predictive_nll(model, split).mean()), 1)  # untrained: ln 2
        0.7
    """
    return nll(predicted_pairs(predictive, split, part=part, negatives=negatives, seed=seed))


def nll(pairs: pd.DataFrame) -> pd.Series:
    """Negative log likelihood of every user's pairs, in nats a pair (index: user id).

    Args:
        pairs: As :func:`predicted_pairs` returns them.

    Example:
        >>> nll(pd.DataFrame({"user": ["a", "a"], "log_likelihood": [-0.5, -0.1]}))
        user
        a    0.3
        Name: nll, dtype: float64
    """
    return -pairs.groupby("user", sort=False)["log_likelihood"].mean().rename("nll")


def brier(pairs: pd.DataFrame) -> pd.Series:
    """Brier score ``mean (p - y)²`` of every user's pairs (index: user id), in ``[0, 1]``.

    Args:
        pairs: As :func:`predicted_pairs` returns them.

    Example:
        >>> brier(pd.DataFrame({"user": ["a", "a"], "label": [1, 0], "probability": [0.5, 0.1]}))
        user
        a    0.13
        Name: brier, dtype: float64
    """
    squares = (pairs["probability"] - pairs["label"]) ** 2
    return squares.groupby(pairs["user"], sort=False).mean().rename("brier")
