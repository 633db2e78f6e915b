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
from bayes_recsys.inference.predict import draw
from bayes_recsys.models.base import Model


def predictive_nll(
    model: Model,
    split: Split,
    *,
    part: str = "test",
    negatives: int = 4,
    draws: int = 50,
    source: str = "posterior",
    seed: int = 0,
) -> pd.Series:
    """Negative log predictive likelihood of held-out positives and fresh negatives, per user.

    For every pair the probability of its label is averaged over posterior draws, then

    ``-1/|pairs| Σ ln( 1/S Σ_s Bernoulli(y | σ(x⁽ˢ⁾)) )``.

    With ``source="prior"`` the scores are drawn from their prior instead, the networks as they are:
    whether these networks rely on what the posterior knows. (What random scores are worth, a model
    fitted with ``Point()`` says.)

    The negatives are drawn as in training: uniformly among items that are not the user's training
    positives. The figure is relative to their number, so compare models at the same ``negatives``,
    which should be those a model was trained with.

    Args:
        model: A model fitted with ``Bernoulli(negatives)``.
        split: The split of its histories.
        part: ``"test"``, ``"validation"`` or ``"leave_one_out"``.
        negatives: Negatives per positive.
        draws: Draws ``S``.
        source: ``"posterior"`` or ``"prior"``.
        seed: Seed of negatives and draws.

    Returns:
        Mean per pair in nats, one value per user with an item in ``part`` (index: user id). A
        model that knows nothing but the base rate ``1 / (1 + negatives)`` has 0.500 at 4
        negatives.

    Raises:
        ValueError: ``part`` is unknown or empty, or the model was made from another split.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> round(float(predictive_nll(model, split, draws=5).mean()), 1)  # untrained: ln 2
        0.7
    """
    check_split(model.histories, split)
    positives, sampler = split.items_by_user(part), negative_sampler(split)
    values = {}
    for user in positives.lengths.nonzero()[:, 0].tolist():
        positive = positives.row(user)
        rng = np.random.default_rng([seed, user])
        negative = sampler.draw(torch.full_like(positive, user), negatives, rng)
        item = torch.cat([positive, negative.flatten()])
        sign = torch.where(torch.arange(len(item)) < len(positive), 1.0, -1.0)
        logits = draw(
            model, torch.tensor([user]), item[None], draws=draws, source=source, seed=seed
        ).logits[:, 0]
        log_likelihood = logsigmoid(sign * logits).logsumexp(0) - math.log(draws)
        values[split.interactions.user_ids[user]] = -log_likelihood.mean().item()
    if not values:
        raise ValueError(f"no user has an item in the {part} part of {split!r}")
    return pd.Series(values, name="nll").rename_axis("user")
