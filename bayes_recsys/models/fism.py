"""Factored item similarity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.models.base import Model
from bayes_recsys.nn.attention import Attended
from bayes_recsys.nn.pooling import pool
from bayes_recsys.nn.tables import embedding


class FISM(Model):
    """``x_ui = b_u + b_i + |R|^-α Σ_{j ∈ R} h_j · q_i`` with ``R = R_u \\ {i}``.

    Kabbur et al., "FISM: Factored Item Similarity Models for Top-N Recommender Systems" (2013),
    section 4. Even attention: what NAIS and BAMF weigh, this model only adds up.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.
        alpha: Between 0 (a sum) and 1 (an average over the history).

    Raises:
        ValueError: ``alpha`` is out of range.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = FISM(br.data.histories(split), embedding_dim=8)
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(self, histories: Histories, *, embedding_dim: int = 32, alpha: float = 0.5):
        super().__init__(histories)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], not {alpha}")
        self.alpha = alpha
        self.item = embedding(histories.n_items, embedding_dim)
        self.history = embedding(histories.n_items, embedding_dim)
        self.user_bias = nn.Embedding.from_pretrained(
            torch.zeros(histories.n_users, 1), freeze=False
        )
        self.item_bias = nn.Embedding.from_pretrained(
            torch.zeros(histories.n_items, 1), freeze=False
        )

    def attend(self, batch: Batch) -> dict[str, Attended]:
        return {}

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        history = self.history(batch.history)
        even = history.new_zeros(len(batch.user), 1, history.shape[1])
        pooled = pool(even, history, batch, self.alpha)
        bias = self.user_bias(batch.user) + self.item_bias(batch.item).squeeze(-1)
        return bias + (pooled * self.item(batch.item)).sum(-1)
