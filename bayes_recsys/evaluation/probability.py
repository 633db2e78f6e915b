"""How probable a model finds held-out choices."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bayes_recsys.arguments import check_whole
from bayes_recsys.data.history import check_split
from bayes_recsys.data.negatives import check_negatives, negative_sampler
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.protocols import PARTS, check_part
from bayes_recsys.evaluation.result import Evaluation, digest_of
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive
from bayes_recsys.streams import stream

SMALLEST = 1e-300
# Numbers held at once for one user.
AT_ONCE = 10_000_000


def predicted_pairs(
    predictive: Predictive | Model,
    split: Split,
    *,
    part: str = "test",
    negatives: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Held-out positives and fresh negatives with their predictive probability.

    ``p = 1/S Σ_s p(x⁽ˢ⁾)``: probabilities are averaged over draws, not logits; what the probability of a
    logit is, the likelihood says that the model was fitted with (``σ(x)`` for ``Bernoulli``). Negatives
    are drawn as in training: uniformly among items that are not the user's training positives.
    Probabilities are relative to their number; see
    :func:`~bayes_recsys.evaluation.calibration.corrected` for the whole catalogue.

    Args:
        predictive: A :class:`~bayes_recsys.posterior.predictive.Posterior`, ``DeepEnsemble`` or
            ``MCDropout``; a model is its posterior.
        split: The split of its histories.
        part: ``"test"``, ``"validation"`` or ``"leave_one_out"``.
        negatives: Negatives per positive; default: as many as the model was trained with.
        seed: Seed of the negatives.

    Returns:
        Columns ``user``, ``item`` (ids), ``label`` (0 or 1), ``probability`` (of a 1),
        ``log_likelihood`` (of the label, in nats).

    Raises:
        NoProbability: The model was fitted with a likelihood that knows none, such as ``BradleyTerry``.
        ValueError: ``part`` is unknown or empty, ``negatives`` is below 1, or the model was made from
            another split.
        TypeError: ``predictive`` has no draws.
    """
    predictive = as_predictive(predictive)
    predictive.likelihood.probability(torch.zeros(1))  # refuses where there is none
    tables = []
    for user, item, drawn, place in held_out_draws(predictive, split, part, negatives, seed):
        probability = predictive.likelihood.probability(drawn).mean(0)[place]
        label = torch.zeros(item.shape, dtype=torch.bool)
        label[:, 0] = True
        # Of a negative no smaller than what 1 - p tells apart.
        other = (1 - probability).clamp(min=torch.finfo(probability.dtype).eps / 2)
        of_label = torch.where(label, probability.clamp(min=SMALLEST), other)
        columns = {
            "user": split.interactions.user_ids[user],
            "item": split.interactions.item_ids[item.flatten().numpy()],
            "label": label.flatten().long().numpy(),
            "probability": probability.flatten().numpy(),
            "log_likelihood": of_label.log().flatten().numpy(),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def predictive_nll(
    predictive: Predictive | Model,
    split: Split,
    *,
    part: str = "test",
    negatives: int | None = None,
    seed: int = 0,
) -> pd.Series:
    """Negative log predictive likelihood of what the model was fitted to observe, of held-out choices:

    ``-1/n Σ ln( 1/S Σ_s p(y | x⁽ˢ⁾) )``.

    With ``Bernoulli`` an observation is a pair, those of :func:`predicted_pairs`, whose arguments it
    takes; with ``BradleyTerry`` that a positive is preferred to a negative. Compare only models of the
    same likelihood.

    With ``Posterior(model, source="prior")`` the scores are drawn from their prior, the networks as
    they are: whether these networks rely on what the posterior knows. (What random scores are worth,
    a model fitted with ``Point()`` says.)

    Args:
        predictive: Any :class:`~bayes_recsys.posterior.predictive.Predictive`; a model is its posterior.
        split: The split of its histories.
        part: ``"test"``, ``"validation"`` or ``"leave_one_out"``.
        negatives: For each held-out choice; ``None``: as many as in training.
        seed: Seed of the negatives.

    Returns:
        Mean per observation in nats, one value per user with an item in ``part`` (index: user id). A
        model that knows nothing but the base rate ``1 / (1 + negatives)`` has 0.500 at 4
        negatives.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> round(float(predictive_nll(model, split).mean()), 1)  # untrained: ln 2
        0.7
    """
    predictive, values = as_predictive(predictive), {}
    for user, _, drawn, place in held_out_draws(predictive, split, part, negatives, seed):
        log_likelihoods = []
        # Some positives at a time: with all items for candidates each has a whole catalogue of them.
        for rows in place.split(max(1, AT_ONCE // (len(drawn) * place.shape[1]))):
            of_draws = predictive.likelihood.log_likelihood(drawn[:, rows])
            log_likelihoods.append(of_draws.logsumexp(0) - math.log(len(of_draws)))
        values[split.interactions.user_ids[user]] = -torch.cat(log_likelihoods).mean().item()
    return pd.Series(values, name="nll").rename_axis("user")


def held_out_draws(
    predictive: Predictive, split: Split, part: str, negatives: int | None, seed: int
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """User, items ``[P, 1 + n]`` (each positive before its negatives), draws of the logits of the ``D``
    different ones ``[S, D]``, and where among these each item stands ``[P, 1 + n]``; of every user with an
    item in the part."""
    check_part(part)
    negatives = predictive.likelihood.negatives if negatives is None else negatives
    if negatives is not None:
        check_whole("negatives", negatives)
        check_negatives(negatives, split.interactions.n_items)
    check_split(predictive.histories, split)
    positives, trained = split.items_by_user(part), split.items_by_user("train")
    sampler = negative_sampler(split)
    users = positives.lengths.nonzero()[:, 0].tolist()
    if not users:
        raise ValueError(f"no user has an item in the {part} part of {split!r}")
    for user in users:
        positive = positives.row(user)
        if negatives is None:
            known = torch.cat([positive, trained.row(user)]).numpy()
            others = np.setdiff1d(np.arange(split.interactions.n_items), known)
            negative = torch.from_numpy(others).expand(len(positive), -1)
        else:
            # By part, so that what is fitted to one part is judged by other negatives.
            rng = stream("held-out negatives", seed, PARTS.index(part), user)
            negative = sampler.draw(torch.full_like(positive, user), negatives, rng)
        item = torch.cat([positive[:, None], negative], dim=1)
        distinct, place = item.unique(return_inverse=True)
        logits = predictive.draw_logits(torch.tensor([user]), distinct[None])[:, 0].double()
        yield user, item, logits, place


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


def evaluate_pairs(pairs: pd.DataFrame, *, part: str = "test") -> Evaluation:
    """NLL and Brier score of every user's pairs as an evaluation, for
    :func:`~bayes_recsys.evaluation.comparison.compare`, which then sees that all were of the same pairs.

    Args:
        pairs: As :func:`predicted_pairs` returns them.
        part: The part they are of.

    Example:
        >>> pairs = pd.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "label": [1, 0]})
        >>> pairs = pairs.assign(probability=[0.5, 0.1], log_likelihood=np.log([0.5, 0.9]))
        >>> evaluate_pairs(pairs).per_user.round(2)
               nll  brier
        user
        a     0.4   0.13
    """
    per_user = pd.concat([nll(pairs), brier(pairs)], axis=1)
    identity = [pairs[name].to_numpy() for name in ("user", "item", "label")]
    digest = digest_of([one.astype(str) for one in identity])
    return Evaluation("pairs", part, per_user, pd.DataFrame(), digest)
