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
    ``M × N`` is built: ``p`` sums over the user's history, ``q`` over the item's audience, once per
    distinct item of the batch.

    Args:
        histories: Histories and audiences.
        dim: Length ``D`` of the sums.
        exclude_target: ``False`` reads ``Y`` literally. **This is a leak**: a training positive is
            then part of its own input.
    """

    def __init__(self, histories: Histories, dim: int, *, exclude_target: bool = True):
        super().__init__()
        self.dim, self.audience = dim, histories.audience
        self.exclude_target = exclude_target
        # Sums over hundreds of entries start near the size of one vector.
        self.of_row = embedding(histories.n_items, dim, scale=0.01)
        self.of_column = embedding(histories.n_users, dim, scale=0.01)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """``p`` and ``q``, each ``[G, C, D]``."""
        history = self.of_row(batch.history) * batch.history_mask[..., None]
        row = history.sum(1)[:, None].expand(-1, batch.item.shape[1], -1)
        column = sum_over_audience(self.audience, batch.item, self.of_column.weight)
        if not self.exclude_target:
            return row, column
        user = batch.user[:, None].expand_as(batch.item)
        heard = self.audience.contains(batch.item.cpu(), user.cpu()).to(batch.item.device)
        is_own = batch.own < batch.history.shape[1]
        row = row - self.of_row(batch.item) * is_own[..., None]
        return row, column - self.of_column(batch.user)[:, None] * heard[..., None]


def sum_over_audience(audience: Ragged, item: Tensor, vector: Tensor) -> Tensor:
    """``Σ_{v ∈ R_i} vector_v`` of items ``[G, C]`` from vectors of all users ``[M, D]``, shape
    ``[G, C, D]``: once per distinct item. (The gradients of ``embedding_bag`` and of indexing depend
    on the order in which threads come; those of look-ups do not.)"""
    distinct, where = item.unique(return_inverse=True)
    heard = audience.take(distinct.cpu())
    vectors = look_up(heard.values.to(item.device), vector)
    sums = vector.new_zeros(len(distinct), vector.shape[1])
    return look_up(where, sums.index_add(0, heard.rows.to(item.device), vectors))
