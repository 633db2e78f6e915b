"""DRNet: affection between user and item, association between items."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.models.base import Model
from bayes_recsys.models.parts import Parts, Product
from bayes_recsys.nn.attention import Attended, Attention
from bayes_recsys.nn.entries import HistoryEntries
from bayes_recsys.nn.layers import tower
from bayes_recsys.nn.tables import embedding
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import Scores

LAYERS = (64, 32)


class ItemRelation(nn.Module):
    """``z = MLP(x_u ⊙ p_i)``, where ``x_u`` pools the history by how the user is affected by it.

    ``x_u = Σ_{j ∈ R_u \\ {i}} α_uj q_j`` with scores ``exp(h · affection(u, j))``: the query ``h`` is
    global, and the key of a history item is the affection vector of the user and that item,
    computed once per user and item.

    Args:
        histories: Vocabularies and histories.
        dim: Length of the vectors ``q_j`` and ``p_i``.
        layers: Lengths of the outputs of both MLPs.
        norm: Whether each linear map of the MLPs is followed by a layer norm.
        dropout: Probability that an output is dropped in training.
        scores: ``Point()``, or how the scores are distributed.
        beta: Smoothing exponent.
    """

    def __init__(
        self,
        histories: Histories,
        dim: int,
        layers: Sequence[int],
        norm: bool,
        dropout: float,
        scores: Scores | Point,
        beta: float,
    ):
        super().__init__()
        self.affection = affection(histories, dim, layers, norm, dropout, start=0.1)
        self.query = nn.Parameter(0.1 * torch.randn(layers[-1]))
        self.history = embedding(histories.n_items, dim)
        self.target = embedding(histories.n_items, dim)
        self.attention = Attention(layers[-1], scores=scores, beta=beta)
        self.tower = tower(dim, layers, norm=norm, dropout=dropout)

    def attend(self, batch: Batch) -> Attended:
        user = self.affection.user(batch.user)[:, None]
        key = self.affection.tower(user * self.affection.item(batch.history))  # [G, L, D]
        query = self.query.expand(len(batch.user), 1, -1)
        return self.attention(query, HistoryEntries(batch, key, self.history(batch.history)))

    def forward(self, batch: Batch, context: Tensor) -> Tensor:
        """``z [G, C, D]`` from the pooled history ``[G, C, K]``."""
        return self.tower(context * self.target(batch.item))


class Affection(Parts):
    """The user-item half of DRNet alone: ``x_ui = w · MLP_ReLU(u_u ⊙ v_i)``. Point estimates.

    Ji, Xiang and Li, "Dual Relations Network for Collaborative Filtering" (2020).

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.
        layers: Lengths of the MLP's outputs.
        norm: Whether each linear map of the MLP is followed by a layer norm, as in public code.
        dropout: Probability that an output is dropped in training.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 64,
        layers: Sequence[int] = LAYERS,
        norm: bool = True,
        dropout: float = 0.2,
    ):
        super().__init__(histories)
        # Small, as published; in the association these vectors are keys, and start at the size of others.
        part = affection(histories, embedding_dim, layers, norm, dropout, start=0.01)
        self.join([(part, layers[-1])])

    @classmethod
    def as_published(
        cls, histories: Histories, *, embedding_dim: int = 64, layers: Sequence[int] = LAYERS
    ) -> Affection:
        """The formula as written: plain ``MLP_ReLU``, without layer norm and dropout."""
        return cls(histories, embedding_dim=embedding_dim, layers=layers, norm=False, dropout=0.0)


class Association(Model):
    """The item-item half of DRNet alone: ``x_ui = w · MLP_ReLU(x_u ⊙ p_i)``, where ``x_u`` pools the
    user's history without the target by attention; see :class:`ItemRelation`.

    Ji, Xiang and Li (2020). A point-estimate model, and Bayesian by ``scores=Scores(..)``: then there
    is a latent site ``"attention"``, by default one score per user and history item.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.
        layers: Lengths of the outputs of the MLPs.
        norm: Whether each linear map of the MLPs is followed by a layer norm, as in public code.
        dropout: Probability that an output is dropped in training.
        scores: ``Point()``, or how the scores are distributed.
        beta: Smoothing exponent of the softmax, ``0 < β ≤ 1``.
    """

    relations = 1  # that the last layer sees

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 64,
        layers: Sequence[int] = LAYERS,
        norm: bool = True,
        dropout: float = 0.2,
        scores: Scores | Point = Point(),
        beta: float = 0.5,
    ):
        super().__init__(histories)
        self.relation = ItemRelation(histories, embedding_dim, layers, norm, dropout, scores, beta)
        self.match = nn.Linear(self.relations * layers[-1], 1, bias=False)

    @classmethod
    def as_published(
        cls,
        histories: Histories,
        *,
        embedding_dim: int = 64,
        layers: Sequence[int] = LAYERS,
        beta: float = 0.5,
    ) -> Association:
        """The formulas as written: plain ``MLP_ReLU``, without layer norm and dropout, and scores
        ``exp(h · key)``."""
        sizes = {"embedding_dim": embedding_dim, "layers": layers, "beta": beta}
        return cls(histories, **sizes, norm=False, dropout=0.0, scores=Point())

    def attend(self, batch: Batch) -> dict[str, Attended]:
        return {"attention": self.relation.attend(batch)}

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        return self.match(self.relation(batch, contexts["attention"])).squeeze(-1)


class DRNet(Association):
    """Dual relations: ``x_ui = w · [z_affection ⊕ z_association]``, the keys of the association's
    attention being the affection's own vectors.

    Ji, Xiang and Li, "Dual Relations Network for Collaborative Filtering" (2020). A point-estimate
    model, and Bayesian by ``scores=Scores(..)``. Arguments as :class:`Association`.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = DRNet(br.data.histories(split), embedding_dim=8, scores=br.Scores())
        >>> model.eval().score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    relations = 2

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        association = self.relation(batch, contexts["attention"])
        affected = self.relation.affection(batch).expand_as(association)
        return self.match(torch.cat([affected, association], dim=-1)).squeeze(-1)


def affection(
    histories: Histories,
    dim: int,
    layers: Sequence[int],
    norm: bool,
    dropout: float,
    *,
    start: float,
) -> Product:
    """``MLP_ReLU(u_u ⊙ v_i)`` of vectors that start at ``Normal(0, start)``."""
    return Product(
        embedding(histories.n_users, dim, scale=start),
        embedding(histories.n_items, dim, scale=start),
        tower(dim, layers, norm=norm, dropout=dropout),
    )
