"""Linear maps of the interaction matrix's rows and columns."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import embedding as look_up

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.nn.tables import embedding


class MultiHot(nn.Module):
    """``p = W Y_u*`` and ``q = V Y_*i``: a row or column of the interaction matrix as a sum of vectors.

    The entry ``Y_ui`` that is to be predicted is left out of both, unless asked for. No matrix of
    ``M × N`` is built: ``p`` sums over what the user chose in the training part, ``q`` over who chose the item, once
    per distinct user or item of the batch. Neither is cut, however long a history may be: rows and columns are
    those of one ``Y``.

    Args:
        histories: Histories and audiences.
        dim: Length ``D`` of the sums.
        exclude_target: ``False`` reads ``Y`` literally. **This is a leak**: a training positive is
            then part of its own input.
    """

    def __init__(self, histories: Histories, dim: int, *, exclude_target: bool = True):
        super().__init__()
        column = histories.audience
        self.dim, self.column = dim, column
        self.row = Ragged.from_pairs(column.values, column.rows, histories.n_users)
        self.exclude_target = exclude_target
        # Sums over hundreds of entries start near the size of one vector.
        self.of_row = embedding(histories.n_items, dim, scale=0.01)
        self.of_column = embedding(histories.n_users, dim, scale=0.01)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """``p`` and ``q``, each ``[G, C, D]``."""
        user = batch.user[:, None].expand_as(batch.item)
        row = sum_over(self.row, batch.user, self.of_row.weight)[:, None]
        row = row.expand(*batch.item.shape, -1)
        column = sum_over(self.column, batch.item, self.of_column.weight)
        if not self.exclude_target:
            return row, column
        chosen = self.column.on(user.device).contains(batch.item, user)[..., None]
        own = self.of_column(batch.user)[:, None]
        return row - self.of_row(batch.item) * chosen, column - own * chosen


def sum_over(rows: Ragged, row: Tensor, vector: Tensor) -> Tensor:
    """Sums of the vectors ``[.., D]`` of what stands in each row ``row [..]``, shape ``[.., D]``: once per
    distinct row. (The gradients of ``embedding_bag`` and of indexing depend on the order in which threads
    come; those of look-ups do not.)"""
    distinct, where = row.unique(return_inverse=True)
    taken = rows.on(row.device).take(distinct)
    sums = vector.new_zeros(len(distinct), vector.shape[1])
    return look_up(where, sums.index_add(0, taken.rows, look_up(taken.values, vector)))
