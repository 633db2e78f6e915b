"""Scorers to beat."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from sklearn.linear_model import ElasticNet
from torch import Tensor
from tqdm.auto import tqdm

from bayes_recsys.data.split import Split


class Popularity:
    """Score = number of training interactions of the item, the same for everyone.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> Popularity(split).score(torch.tensor([0]), torch.tensor([[3, 4]])).shape
        torch.Size([1, 2])
    """

    def __init__(self, split: Split):
        items = torch.from_numpy(split.interactions.item[split.train])
        self.counts = torch.bincount(items, minlength=split.interactions.n_items).float()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.counts[item]


class SLIM:
    """Sparse linear item-item model: the score of an item is the sum of its weights from the items of
    the user's training part, each item's weights fitted by

    ``min ½‖y_i - Y w‖² + l1 ‖w‖₁ + l2/2 ‖w‖²``, ``w ≥ 0``, ``w_i = 0``,

    with scikit-learn's elastic net. Ning and Karypis, "SLIM: Sparse Linear Methods for Top-N
    Recommender Systems" (2011).

    Args:
        split: Fitted to its training part.
        l1: Weight of the absolute values, positive.
        l2: Weight of the squares, not negative.
        progress: Show a progress bar (in a terminal).

    Raises:
        ValueError: ``l1`` or ``l2`` is out of range.

    Example:
        >>> import torch
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> SLIM(split).score(torch.tensor([0]), torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3])
    """

    def __init__(self, split: Split, *, l1: float = 1.0, l2: float = 10.0, progress: bool = False):
        if not (l1 > 0 and l2 >= 0):
            raise ValueError(f"l1 must be positive and l2 not negative, but are {l1} and {l2}")
        n_users, n_items = split.interactions.n_users, split.interactions.n_items
        train = split.items_by_user("train")
        # scikit-learn takes 32-bit indices only.
        indices, offsets = (a.numpy().astype(np.int32) for a in (train.values, train.offsets))
        self.rows = sparse.csr_array(
            (np.ones(len(indices)), indices, offsets),
            shape=(n_users, n_items),
        )
        columns = self.rows.tocsc()
        together = (columns.T @ columns).tocsc()
        # scikit-learn divides the squared error by the number of rows.
        net = ElasticNet(
            alpha=(l1 + l2) / n_users, l1_ratio=l1 / (l1 + l2), positive=True,
            fit_intercept=False, max_iter=1000, tol=1e-3,
        )  # fmt: skip
        weights = []
        for item in tqdm(
            range(n_items),
            desc="SLIM",
            unit="item",
            leave=False,
            disable=None if progress else True,
        ):
            others = together[:, [item]].indices
            others = np.sort(others[others != item])
            weight = np.zeros(n_items)
            if len(others):
                # Only items that were ever chosen together can have a positive weight.
                net.fit(columns[:, others], columns[:, [item]].toarray()[:, 0])
                weight[others] = net.coef_
            weights.append(sparse.csr_array(weight[None]))
        self.weights = sparse.vstack(weights).tocsr()  # [to, from]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` of candidates ``item [G, C]`` of users ``user [G]``."""
        scores = (self.rows[user.numpy()] @ self.weights.T).toarray()
        return torch.from_numpy(scores).float().gather(1, item)
