"""DeepCF: representation and matching-function learning on rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.models.parts import Parts
from bayes_recsys.nn.layers import tower
from bayes_recsys.nn.multihot import MultiHot

RL_LAYERS, ML_LAYERS = (64,), (128, 64)


class RowTimesColumn(nn.Module):
    """``z = MLP(Y_u*) ⊙ MLP(Y_*i)``; the first layer of each is the linear map of its row or column."""

    def __init__(self, matrix: MultiHot, layers: Sequence[int]):
        super().__init__()
        self.matrix = matrix
        self.of_user = tower(matrix.dim, layers)
        self.of_item = tower(matrix.dim, layers)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, C, layers[-1]]``."""
        row, column = self.matrix(batch)
        return self.of_user(row.relu()) * self.of_item(column.relu())


class RowBesideColumn(nn.Module):
    """``z = MLP(p ⊕ q)`` with linear ``p = P Y_u*`` and ``q = Q Y_*i``."""

    def __init__(self, matrix: MultiHot, layers: Sequence[int]):
        super().__init__()
        self.matrix = matrix
        self.tower = tower(2 * matrix.dim, layers)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, C, layers[-1]]``."""
        return self.tower(torch.cat(self.matrix(batch), dim=-1))


class CFNetRL(Parts):
    """Representation learning of DeepCF: ``x_ui = w · (MLP_ReLU(Y_u*) ⊙ MLP_ReLU(Y_*i))``.

    Deng et al., "DeepCF: A Unified Framework of Representation Learning and Matching Function
    Learning in Recommender System" (2019). Point estimates.

    Args:
        histories: Histories (rows) and audiences (columns).
        dim: Length of the first layer, a linear map of row or column.
        layers: Lengths of the layers behind it.
        exclude_target: ``False`` leaves ``Y_ui`` in its row and column: **a leak**.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = CFNetRL(br.data.histories(split), dim=8)
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        histories: Histories,
        *,
        dim: int = 128,
        layers: Sequence[int] = RL_LAYERS,
        exclude_target: bool = True,
    ):
        super().__init__(histories)
        matrix = MultiHot(histories, dim, exclude_target=exclude_target)
        self.join([(RowTimesColumn(matrix, layers), layers[-1])])


class CFNetML(Parts):
    """Matching-function learning of DeepCF: ``x_ui = w · MLP_ReLU(P Y_u* ⊕ Q Y_*i)``.

    Deng et al. (2019). Point estimates. Arguments as :class:`CFNetRL`.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        dim: int = 128,
        layers: Sequence[int] = ML_LAYERS,
        exclude_target: bool = True,
    ):
        super().__init__(histories)
        matrix = MultiHot(histories, dim, exclude_target=exclude_target)
        self.join([(RowBesideColumn(matrix, layers), layers[-1])])


class CFNet(Parts):
    """Both parts of DeepCF, each with maps of its own, under one layer: ``x_ui = w · [z_RL ⊕ z_ML]``.

    Deng et al. (2019), trained together from the start. Point estimates.

    Args:
        histories: Histories (rows) and audiences (columns).
        dim: Length of the linear maps of rows and columns.
        rl_layers: Lengths of the layers behind them in the representation part.
        ml_layers: Lengths of the layers in the matching part.
        exclude_target: ``False`` is **a leak**, see :class:`CFNetRL`.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        dim: int = 128,
        rl_layers: Sequence[int] = RL_LAYERS,
        ml_layers: Sequence[int] = ML_LAYERS,
        exclude_target: bool = True,
    ):
        super().__init__(histories)

        def matrix() -> MultiHot:
            return MultiHot(histories, dim, exclude_target=exclude_target)

        self.join(
            [
                (RowTimesColumn(matrix(), rl_layers), rl_layers[-1]),
                (RowBesideColumn(matrix(), ml_layers), ml_layers[-1]),
            ]
        )
