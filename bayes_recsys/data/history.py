"""What attention runs over: the training items of every user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.data.splits import Split

# The longest history that is not cut: BAMF's paper.
MAX_LENGTH = 400


@dataclass(frozen=True)
class Histories:
    """All that a model knows of the data: vocabularies and histories. It travels with the model.

    Args:
        user_ids: User ids as text, shape ``[M]``.
        item_ids: Item ids as text, shape ``[N]``.
        titles: Item titles, shape ``[N]``, or ``None``.
        history: Items ``R_u`` of every user in the training part, cut to the longest allowed length.
        audience: Users ``R_i`` of every item in the training part, never cut.
        known: Items of every user in the data: never recommended again. Models do not see them.
        user_features: What else is known of every user, ``[M, F]``, or ``None``. No model of this
            package uses it; one of your own can.
        item_features: What else is known of every item, ``[N, F]``, or ``None``.

    Raises:
        ValueError: Features are not a finite matrix with a row for every user or item.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    titles: np.ndarray | None
    history: Ragged
    audience: Ragged
    known: Ragged
    user_features: torch.Tensor | None = None
    item_features: torch.Tensor | None = None

    def __post_init__(self) -> None:
        for name, rows in (("user_features", self.n_users), ("item_features", self.n_items)):
            given = getattr(self, name)
            if given is None:
                continue
            matrix = torch.as_tensor(np.asarray(given, dtype=np.float32))
            if matrix.ndim != 2 or len(matrix) != rows or not matrix.isfinite().all():
                raise ValueError(
                    f"{name} must be a finite matrix of {rows} rows, one for every "
                    f"{name.split('_')[0]} in the order of its codes, not {tuple(matrix.shape)}"
                )
            object.__setattr__(self, name, matrix)

    def __repr__(self) -> str:
        return (
            f"Histories({self.n_users:,} users, {self.n_items:,} items, {len(self.history.values):,} "
            f"choices to attend over)"
        )

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def user_codes(self, ids) -> torch.Tensor:
        """Codes of distinct user ids, shape ``[n]``. An unknown id is a ``KeyError``; no id at all,
        or one text in place of a list, a ``ValueError``."""
        return _codes(self.user_ids, ids, "user")

    def item_codes(self, ids) -> torch.Tensor:
        """Codes of distinct item ids, as :meth:`user_codes`."""
        return _codes(self.item_ids, ids, "item")


def histories(
    split: Split,
    *,
    max_length: int = MAX_LENGTH,
    user_features: torch.Tensor | np.ndarray | None = None,
    item_features: torch.Tensor | np.ndarray | None = None,
) -> Histories:
    """Histories from training interactions only, long ones cut by TF-IDF.

    Document = history, word = item. Every count is 1, so the weight of an item is its smoothed
    inverse document frequency ``ln((1 + M) / (1 + df)) + 1`` (scikit-learn's
    ``TfidfTransformer(norm=None)``), and a history longer than ``max_length`` keeps its *rarest*
    items; ties keep the lower item code.

    Args:
        split: The split whose training part is used.
        max_length: Longest history, at least 1.
        user_features: Kept for models that use them, ``[M, F]``; rows are those of ``user_ids``.
        item_features: The same of items, ``[N, F]``; rows are those of ``item_ids``.

    Raises:
        ValueError: ``max_length`` is no whole number of at least 1, or features have another number of rows.
    """
    check_kind(split, Split, "a split (data.split(..))")
    check_whole("max_length", max_length)
    data = split.interactions
    train = split.items_by_user("train")
    counts = csr_array(
        (np.ones(len(train.values)), train.values.numpy(), train.offsets.numpy()),
        shape=(data.n_users, data.n_items),
    )
    weight = torch.from_numpy(TfidfTransformer(norm=None).fit(counts).idf_)[train.values]
    return Histories(
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        titles=data.titles,
        history=_cut(train, weight, max_length),
        audience=Ragged.from_pairs(train.values, train.rows, data.n_items),
        known=split.items_by_user(),
        user_features=user_features,
        item_features=item_features,
    )


def _cut(rows: Ragged, weight: torch.Tensor, max_length: int) -> Ragged:
    """Rows of the entries with the most ``weight [offsets[-1]]``; of equals, the first."""
    keep = torch.ones(len(rows.values), dtype=torch.bool)
    for row in (rows.lengths > max_length).nonzero()[:, 0].tolist():
        of_row = slice(int(rows.offsets[row]), int(rows.offsets[row + 1]))
        keep[of_row].index_fill_(
            0, weight[of_row].sort(descending=True, stable=True).indices[max_length:], False
        )
    return rows if keep.all() else rows.kept(keep)


def check_split(histories: Histories, split: Split) -> None:
    """Refuse a split other than the one the histories were made from, where what is held out may
    already be known.

    Raises:
        ValueError: The sizes differ, or the histories were made from pairs outside the training part.
    """
    # Audiences hold every pair; histories may be cut.
    audience, data = histories.audience, split.interactions
    same = (histories.n_users, histories.n_items) == (data.n_users, data.n_items)
    train = split.items_by_user("train")
    if not same or not train.contains(audience.values, audience.rows).all():
        raise ValueError(
            "the model's histories hold items outside this split's training part; use the split "
            "they were made from, data.histories(split)"
        )


def _codes(vocabulary: np.ndarray, ids, kind: str) -> torch.Tensor:
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise ValueError(f"{kind}s must be a list of ids, not {ids!r}")
    position = {text: code for code, text in enumerate(vocabulary.tolist())}
    codes = []
    for one in dict.fromkeys(map(str, ids)):
        if one not in position:
            raise KeyError(
                f"unknown {kind} id {one!r}; known ids are for instance "
                f"{', '.join(map(repr, vocabulary[:5].tolist()))}"
            )
        codes.append(position[one])
    if not codes:
        raise ValueError(f"{kind}s must not be empty")
    return torch.tensor(codes, dtype=torch.long)
