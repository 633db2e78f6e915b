"""The best new items for a user, with what is not known about them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from bayes_recsys.inference.predict import draw
from bayes_recsys.models.base import Model


def recommend(
    model: Model,
    users: Iterable[str] | None = None,
    *,
    k: int = 10,
    draws: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Top-``k`` items per user among those the user has nowhere in the data.

    Items are ranked with expected scores, as :func:`~bayes_recsys.evaluation.evaluate.evaluate`
    ranks them; the best ``k`` are then drawn from the posterior for their spread.

    Args:
        model: A fitted model.
        users: User ids; ``None`` for all that a model can rank for, which are those with a
            training row.
        k: Items per user, at least 1; fewer if the catalogue has fewer new ones.
        draws: Posterior draws behind each ``sd``, at least 2.
        seed: Seed of the draws.
        progress: Show a progress bar (in a terminal).

    Returns:
        Columns ``user``, ``rank`` (from 1), ``item``, ``title`` (only where the data has titles),
        ``score`` (the logit at expected scores) and ``sd`` (posterior standard deviation of
        the logit: what the latent scores leave open, 0 for a deterministic model). Logits compare
        within a user; they are relative to the training negatives.

    Raises:
        KeyError: A user id is unknown.
        ValueError: ``k`` is below 1, ``draws`` below 2, ``users`` is empty or a single text, or a
            user has no training row.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if draws < 2:
        raise ValueError(f"draws must be at least 2 for a standard deviation, not {draws}")
    known = model.histories
    trained = known.entries.lengths > 0
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
        expected = model.score(one, fresh[None])[0]
        score, best = expected.topk(min(k, len(fresh)))
        logits = draw(model, one, fresh[best][None], draws=draws, seed=seed).logits[:, 0]
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
