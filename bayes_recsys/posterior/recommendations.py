"""The best new items for a user, with what is not known about them."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from bayes_recsys.arguments import check_whole
from bayes_recsys.bars import bar
from bayes_recsys.memory import memory_kept
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive

# Scores of all users together that are held at once, at most.
AT_ONCE = 2_000_000


def recommend(
    predictive: Predictive | Model,
    users: Iterable[str] | None = None,
    *,
    k: int = 10,
    progress: bool = True,
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
        progress: Show a progress bar (in a terminal, after some seconds).

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
    check_whole("k", k)
    predictive = as_predictive(predictive)
    known = predictive.histories
    trained = known.history.lengths > 0
    codes = known.user_codes(known.user_ids[trained.numpy()] if users is None else users)
    if not trained[codes].all():
        user = str(known.user_ids[int(codes[~trained[codes]][0])])
        raise ValueError(f"user {user!r} has no training row: there is nothing to recommend by")
    tables = []
    with (
        memory_kept(),
        bar("user", "recommend", len(codes), shown=progress) as done,
    ):
        for some in codes.split(max(1, AT_ONCE // known.n_items)):
            tables.append(_best(predictive, some, k))
            done.update(len(some))
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise ValueError("no user has an item that is new to them")
    return table


def _best(predictive: Predictive, user: Tensor, k: int) -> pd.DataFrame:
    """The rows of some users ``[G]``."""
    known = predictive.histories
    every = torch.arange(known.n_items).expand(len(user), -1)
    expected = predictive.score(user, every).clone()
    if expected.isnan().any():
        row, column = expected.isnan().nonzero()[0].tolist()
        raise ValueError(
            f"the score of item '{known.item_ids[column]}' for user '{known.user_ids[user[row]]}' is NaN"
        )
    chosen = known.known.take(user)
    expected[chosen.rows, chosen.values] = -torch.inf
    score, best = expected.topk(min(k, known.n_items))
    logits = predictive.draw_logits(user, best)
    if len(logits) < 2:
        name = type(predictive).__name__
        raise ValueError(f"a standard deviation needs at least 2 draws; {name} makes one")
    rank = torch.arange(best.shape[1]).expand(best.shape)
    new = rank < (known.n_items - chosen.lengths)[:, None]
    item = best[new].numpy()
    columns = {
        "user": known.user_ids[user[:, None].expand(best.shape)[new].numpy()],
        "rank": rank[new].numpy() + 1,
        "item": known.item_ids[item],
    }
    if known.titles is not None:
        columns["title"] = known.titles[item]
    return pd.DataFrame({**columns, "score": score[new].numpy(), "sd": logits.std(0)[new].numpy()})
