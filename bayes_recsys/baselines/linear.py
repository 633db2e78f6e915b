"""Linear models: an item scores by its weights from the items of the user's training part."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy import linalg, sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from torch import Tensor

from bayes_recsys.arguments import check_kind
from bayes_recsys.bars import bar
from bayes_recsys.data.splits import Split
from bayes_recsys.memory import check_memory

# Items whose dense columns are held at once.
BLOCK = 4096


class ItemKNN:
    """Nearest neighbours of items by the users they share:

    ``x_ui = Σ_{j ∈ R_u ∩ kNN(i)} n_ij / (√(n_i n_j) + shrink)``,

    ``n_i`` the number of training interactions of item i and ``n_ij`` the number of users with both.
    Without shrinkage the similarity is the cosine. Deshpande and Karypis, "Item-Based Top-N
    Recommendation Algorithms" (2004).

    Args:
        split: Fitted to its training part.
        neighbours: Neighbours kept of every item, at least 1.
        shrink: Pulls similarities of rare items to zero; not negative.

    Raises:
        ValueError: ``neighbours`` or ``shrink`` is out of range.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> ItemKNN(split, neighbours=5).score(torch.tensor([0]), torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3])
    """

    def __init__(self, split: Split, *, neighbours: int = 50, shrink: float = 0.0):
        if not (neighbours >= 1 and shrink >= 0):
            raise ValueError(
                f"neighbours must be at least 1 and shrink not negative, not {neighbours}, {shrink}"
            )
        self.split, self.rows = split, chosen(split)
        columns = self.rows.tocsc()
        norm = np.sqrt(np.maximum(columns.sum(0), 1))
        kept = []
        # A block of items at a time: all similarities at once are items² numbers.
        for start in range(0, columns.shape[1], 1000):
            block = slice(start, start + 1000)
            similar = (columns[:, block].T @ columns).toarray()
            similar /= norm[block, None] * norm + shrink
            own = np.arange(len(similar))
            similar[own, start + own] = 0
            if neighbours < similar.shape[1]:
                others = np.argpartition(similar, -neighbours, axis=1)[:, :-neighbours]
                np.put_along_axis(similar, others, 0, axis=1)
            kept.append(sparse.csr_array(similar))
        self.weights = sparse.vstack(kept).T.tocsr()  # [from, to]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` of candidates ``item [G, C]`` of users ``user [G]``."""
        return _gathered((self.rows[user.numpy()] @ self.weights).toarray(), item)


class EASE:
    """Full-rank linear item-item model in closed form:

    ``min ‖X - XB‖² + l2 ‖B‖²`` with ``diag(B) = 0``, so that
    ``B = I - P / diag(P)`` (columns divided), ``P = (XᵀX + l2 I)⁻¹``.

    Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (2019). With fewer users than items
    nothing of size items² is made: ``XP = KX`` and ``l2 diag(P) = 1 - diag(XᵀKX)`` with
    ``K = (XXᵀ + l2 I)⁻¹``.

    Args:
        split: Fitted to its training part.
        l2: Penalty, positive.

    Raises:
        ValueError: ``l2`` is not positive.
        MemoryError: The matrix does not fit.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> EASE(split, l2=10.0).score(torch.tensor([0]), torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3])
    """

    def __init__(self, split: Split, *, l2: float = 200.0):
        if not l2 > 0:
            raise ValueError(f"l2 must be positive, not {l2}")
        self.split, self.rows = split, chosen(split)
        self.left, self.right, self.diagonal = ease_factors(self.rows, l2)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` of candidates ``item [G, C]`` of users ``user [G]``."""
        user = user.numpy()
        own = self.rows[user].toarray()
        return _gathered(own - self.left[user] @ self.right / self.diagonal, item)


def ease_factors(
    rows: sparse.csr_array, l2: float
) -> tuple[np.ndarray | sparse.csr_array, np.ndarray | sparse.csr_array, np.ndarray]:
    """``left`` and ``right`` with ``left @ right = XP``, and ``diag(P)``, of :class:`EASE`: ``K`` and ``X`` with fewer users
    than items, else ``X`` and ``P``.

    Args:
        rows: What each user chose, ``X [M, N]``.
        l2: Penalty, positive.

    Raises:
        MemoryError: The matrix does not fit.
    """
    size = min(rows.shape)
    check_memory(3 * 8.0 * size**2, f"EASE of {size:,}", "the number of items or users")
    by_users = rows.shape[0] < rows.shape[1]
    gram = (rows @ rows.T if by_users else rows.T @ rows).toarray()
    inverse = linalg.inv(gram + l2 * np.eye(len(gram)), overwrite_a=True)
    if by_users:  # XP = KX; some items at a time, as KX is dense
        columns = rows.tocsc()
        blocks = [columns[:, start : start + BLOCK] for start in range(0, rows.shape[1], BLOCK)]
        explained = [block.multiply(inverse @ block).sum(0) for block in blocks]
        return inverse, rows, (1 - np.concatenate(explained)) / l2
    return rows, inverse, inverse.diagonal()


class SLIM:
    """Sparse linear item-item model, each item's weights fitted by

    ``min ½‖y_i - Y w‖² + l1 ‖w‖₁ + l2/2 ‖w‖²``, ``w ≥ 0``, ``w_i = 0``,

    with scikit-learn's elastic net. Ning and Karypis, "SLIM: Sparse Linear Methods for Top-N
    Recommender Systems" (2011).

    Args:
        split: Fitted to its training part.
        l1: Weight of the absolute values, positive.
        l2: Weight of the squares, not negative.
        max_iter: Most rounds over an item's weights.
        progress: Show a progress bar (in a terminal, after some seconds).

    Raises:
        ValueError: ``l1`` or ``l2`` is out of range.

    Warns:
        ConvergenceWarning: scikit-learn's; some items' weights are not at their minimum.

    Example:
        >>> import torch
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> SLIM(split).score(torch.tensor([0]), torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        split: Split,
        *,
        l1: float = 1.0,
        l2: float = 10.0,
        max_iter: int = 1000,
        progress: bool = True,
    ):
        if not (l1 > 0 and l2 >= 0):
            raise ValueError(f"l1 must be positive and l2 not negative, but are {l1} and {l2}")
        self.split, self.rows = split, chosen(split)
        n_users, n_items = self.rows.shape
        columns = self.rows.tocsc()
        together = (columns.T @ columns).tocsc()
        # scikit-learn divides the squared error by the number of rows.
        net = ElasticNet(
            alpha=(l1 + l2) / n_users, l1_ratio=l1 / (l1 + l2), positive=True,
            fit_intercept=False, max_iter=max_iter, tol=1e-3,
        )  # fmt: skip
        weights, unfinished = [], 0
        for item in bar("item", "SLIM", n_items, over=range(n_items), shown=progress):
            others = together[:, [item]].indices
            others = np.sort(others[others != item])
            weight = np.zeros(n_items)
            if len(others):
                with warnings.catch_warnings():
                    # Of each item; counted and said once.
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    # Only items that were ever chosen together can have a positive weight.
                    net.fit(columns[:, others], columns[:, [item]].toarray()[:, 0])
                unfinished += net.n_iter_ == net.max_iter
                weight[others] = net.coef_
            weights.append(sparse.csr_array(weight[None]))
        if unfinished:
            warnings.warn(
                f"the weights of {unfinished} of {n_items} items are not at their minimum after "
                f"{net.max_iter} rounds; raise max_iter, l1 or l2",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.weights = sparse.vstack(weights).T.tocsr()  # [from, to]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` of candidates ``item [G, C]`` of users ``user [G]``."""
        return _gathered((self.rows[user.numpy()] @ self.weights).toarray(), item)


def chosen(split: Split) -> sparse.csr_array:
    """Ones where a user chose an item in training, ``[M, N]``."""
    check_kind(split, Split, "a split (data.split(..))")
    train = split.items_by_user("train")
    # scikit-learn takes 32-bit indices only.
    indices, offsets = (a.numpy().astype(np.int32) for a in (train.values, train.offsets))
    shape = (split.interactions.n_users, split.interactions.n_items)
    return sparse.csr_array((np.ones(len(indices)), indices, offsets), shape=shape)


def _gathered(scores: np.ndarray, item: Tensor) -> Tensor:
    return torch.from_numpy(scores).float().gather(1, item)
