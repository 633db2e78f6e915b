"""How much of EASE an item-item model takes in, by the validation part."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bayes_recsys.arguments import check_kind, check_number
from bayes_recsys.baselines.linear import EASE
from bayes_recsys.data.history import check_split
from bayes_recsys.data.splits import Split
from bayes_recsys.inference.options import Monitor
from bayes_recsys.models.similarity import ItemSimilarity

WEIGHTS = (0.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
PENALTIES = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0)


def choose_kernel(
    model: ItemSimilarity,
    split: Split,
    *,
    weights: Sequence[float] = WEIGHTS,
    penalties: Sequence[float] = PENALTIES,
) -> pd.DataFrame:
    """Give a fitted model the kernel with which it ranks the validation part best, by NDCG@10 over the whole
    catalogue: first the penalty with which EASE does, then its weight beside what the model has learned.

    Args:
        model: Fitted without a kernel, or with one that is replaced; its ``options`` say what was chosen. A choice that is
            interrupted leaves it as it was.
        split: That of its histories.
        weights: ``κ`` to try.
        penalties: ``l2`` to try.

    Returns:
        A row for each that was tried, with ``weight`` (infinite for EASE alone), ``l2``, ``ndcg@10``.

    Raises:
        ValueError: There is nothing to try, a number is out of range, or the split is another.
        TypeError: It is another kind of model.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=40, n_items=50, seed=0).interactions)
        >>> model = br.models.ItemSimilarity(br.data.histories(split), embedding_dim=8)
        >>> tried = choose_kernel(model, split, weights=[0, 10], penalties=[5, 50, 500])
        >>> tried["l2"].tolist(), model.options.values["kernel"]
        ([5.0, 50.0, 500.0, 5.0, 5.0], 10.0)
    """
    check_kind(model, ItemSimilarity, "an ItemSimilarity")
    check_split(model.histories, split)
    if not len(weights) or not len(penalties):
        raise ValueError("weights and penalties must name at least one number each")
    for weight in weights:
        check_number("weights", weight, least=0)
    for l2 in penalties:
        check_number("penalties", l2, above=0)
    before = model.weight, model.kernel.l2
    tried = [
        {
            "weight": float("inf"),
            "l2": float(l2),
            "ndcg@10": Monitor().measure(EASE(split, l2=l2), split, 0),
        }
        for l2 in penalties
    ]
    l2 = max(tried, key=lambda one: one["ndcg@10"])["l2"]
    beside = []
    try:
        for weight in weights:
            model.use_kernel(weight, l2)
            measured = Monitor().measure(model, split, 0)
            beside.append({"weight": float(weight), "l2": l2, "ndcg@10": measured})
    except BaseException:
        model.use_kernel(*before)
        raise
    model.use_kernel(max(beside, key=lambda one: one["ndcg@10"])["weight"], l2)
    return pd.DataFrame(tried + beside)
