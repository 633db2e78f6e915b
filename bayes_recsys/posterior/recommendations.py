"""The best new items for a user, with what is not known about them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive


def recommend(
    predictive: Predictive | Model,
    users: Iterable[str] | None = None,
    *,
    k: int = 10,
    progress: bool = False,
) -> pd.DataFrame:
    """Top-``k`` items per user among those the user has nowhere in the data.

    Items are ranked by ``score``, as :func:`~bayes_recsys.evaluation.ranking.evaluate` ranks them; for
    the best ``k`` logits are then drawn, for their spread.

    Args:
        predictive: A :class:`~bayes_recsys.posterior.predictive.Posterior`, ``DeepEnsemble`` or ``MCDropout``; a
            model is its posterior.
        users: User ids; ``None`` for all that a model can rank for, which are those with a
            training row.
        k: Items per user, at least 1; fewer if the catalogue has fewer new ones.
        progress: Show a progress bar (in a terminal).

    Returns:
        Columns ``user``, ``rank`` (from 1), ``item``, ``title`` (only where the data has titles),
        ``score`` (of a model the logit at expected scores, of an ensemble the log predictive
        probability) and ``sd`` (standard deviation of the logit's draws: of a posterior what the latent
        scores leave open, 0 for a deterministic model). Logits compare within a user; they are relative
        to the training negatives.

    Raises:
        KeyError: A user id is unknown.
        ValueError: ``k`` is below 1, ``users`` is empty or a single text, a user has no training row, or
            ``predictive`` makes a single draw.
        TypeError: ``predictive`` has no draws.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> list(recommend(br.Posterior(model, draws=200), users=["3"], k=2))
        ['user', 'rank', 'item', 'score', 'sd']
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    predictive = as_predictive(predictive)
    known = predictive.histories
    trained = known.history.lengths > 0
    codes = known.user_codes(known.user_ids[trained.numpy()] if users is None else users)
    if not trained[codes].all():
        user = str(known.user_ids[int(codes[~trained[codes]][0])])
        raise ValueError(f"user {user!r} has no training row: there is nothing to recommend by")
    tables = []
    for user in tqdm(
        codes.tolist(),
        desc="recommend",
        unit="user",
        disable=None if progress else True,
        leave=False,
    ):
        fresh = np.setdiff1d(np.arange(known.n_items), known.known.row(user).numpy())
        if not len(fresh):
            continue
        fresh = torch.from_numpy(fresh)
        one = torch.tensor([user])
        expected = predictive.score(one, fresh[None])[0]
        score, best = expected.topk(min(k, len(fresh)))
        logits = predictive.draw_logits(one, fresh[best][None])[:, 0]
        if len(logits) < 2:
            name = type(predictive).__name__
            raise ValueError(f"a standard deviation needs at least 2 draws; {name} makes one")
        columns = {
            "user": known.user_ids[user],
            "rank": np.arange(1, len(best) + 1),
            "item": known.item_ids[fresh[best].numpy()],
        }
        if known.titles is not None:
            columns["title"] = known.titles[fresh[best].numpy()]
        tables.append(
            pd.DataFrame({**columns, "score": score.numpy(), "sd": logits.std(0).numpy()})
        )
    if not tables:
        raise ValueError("no user has an item that is new to them")
    return pd.concat(tables, ignore_index=True)
