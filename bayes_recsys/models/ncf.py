"""Neural collaborative filtering: GMF, MLP and NeuMF."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.histories import Histories
from bayes_recsys.models.base import Model
from bayes_recsys.nn.attention import Attended
from bayes_recsys.nn.embedding import embedding
from bayes_recsys.nn.tower import tower


class GMF(Model):
    """Generalised matrix factorisation: ``x_ui = h · (p_u ⊙ q_i)``.

    He et al., "Neural Collaborative Filtering" (2017), section 3.2. Point estimates, no history.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = GMF(br.data.histories(split), embedding_dim=8)
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(self, histories: Histories, *, embedding_dim: int = 32):
        super().__init__(histories, embedding_dim=embedding_dim)
        self.user = embedding(histories.n_users, embedding_dim)
        self.item = embedding(histories.n_items, embedding_dim)
        self.match = nn.Linear(embedding_dim, 1, bias=False)

    def attend(self, batch: Batch) -> dict[str, Attended]:
        return {}

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        return self.match(self.user(batch.user)[:, None] * self.item(batch.item)).squeeze(-1)


class MLP(Model):
    """``x_ui = h · MLP_ReLU(p_u ⊕ q_i)``.

    He et al., "Neural Collaborative Filtering" (2017), section 3.3. Point estimates, no history.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.
        layers: Lengths of the layers' outputs, each half of the one before in the paper.
        dropout: Probability that an output is dropped in training.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        layers: Sequence[int] = (64, 32, 16),
        dropout: float = 0.0,
    ):
        super().__init__(
            histories, embedding_dim=embedding_dim, layers=list(layers), dropout=dropout
        )
        self.user = embedding(histories.n_users, embedding_dim)
        self.item = embedding(histories.n_items, embedding_dim)
        self.tower = tower(2 * embedding_dim, layers, dropout=dropout)
        self.match = nn.Linear(layers[-1], 1, bias=False)

    def attend(self, batch: Batch) -> dict[str, Attended]:
        return {}

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        user, item = self.user(batch.user)[:, None], self.item(batch.item)
        return self.match(self.tower(torch.cat([user.expand_as(item), item], dim=-1))).squeeze(-1)


class NeuMF(Model):
    """GMF and MLP, each with vectors of its own, under one last layer:
    ``x_ui = h · [p_u ⊙ q_i ⊕ MLP_ReLU(p'_u ⊕ q'_i)]``.

    He et al., "Neural Collaborative Filtering" (2017), section 3.4, trained together from the start.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors of both parts.
        layers: Lengths of the MLP's outputs.
        dropout: Probability that an output of the MLP is dropped in training.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        layers: Sequence[int] = (64, 32, 16),
        dropout: float = 0.0,
    ):
        super().__init__(
            histories, embedding_dim=embedding_dim, layers=list(layers), dropout=dropout
        )
        self.user = embedding(histories.n_users, embedding_dim)
        self.item = embedding(histories.n_items, embedding_dim)
        self.mlp_user = embedding(histories.n_users, embedding_dim)
        self.mlp_item = embedding(histories.n_items, embedding_dim)
        self.tower = tower(2 * embedding_dim, layers, dropout=dropout)
        self.match = nn.Linear(embedding_dim + layers[-1], 1, bias=False)

    def attend(self, batch: Batch) -> dict[str, Attended]:
        return {}

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        product = self.user(batch.user)[:, None] * self.item(batch.item)
        user, item = self.mlp_user(batch.user)[:, None], self.mlp_item(batch.item)
        layers = self.tower(torch.cat([user.expand_as(item), item], dim=-1))
        return self.match(torch.cat([product, layers], dim=-1)).squeeze(-1)
