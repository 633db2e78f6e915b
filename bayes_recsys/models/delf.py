"""DELF: id and history vectors of both sides, in four pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding as look_up

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.models.base import Model
from bayes_recsys.nn.attention import Attended, Attention
from bayes_recsys.nn.entries import AudienceEntries, HistoryEntries
from bayes_recsys.nn.layers import tower
from bayes_recsys.nn.tables import embedding
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import Scores


class Audience(nn.Module):
    """``n_i = Σ_v α_v x_v`` over the users who chose the item, the user ``u`` of the pair left out.

    The query is global, so a user's score ``exp(h · tanh(W x_v + b))`` is the same in every audience:
    pooled once per distinct item of the batch, and for pairs of a user with an item of theirs each for
    itself. (Subtracting the user's own term from a sum would do for less, but where that term is most of
    it, what is left is rounding error.)

    Args:
        histories: Audiences.
        dim: Length of the vectors.
    """

    def __init__(self, histories: Histories, dim: int):
        super().__init__()
        self.audience = histories.audience
        self.user = embedding(histories.n_users, dim)
        self.key = nn.Linear(dim, dim)
        self.query = nn.Parameter(0.1 * torch.randn(dim))

    def entries(self, batch: Batch) -> AudienceEntries:
        """The users of each target's audience, for scores of their own."""
        return AudienceEntries.of(
            batch, self.audience, self.key(self.user.weight).tanh(), self.user.weight
        )

    def forward(self, batch: Batch) -> Tensor:
        """``n [G, C, K]``; zero where nobody is left."""
        item, user = batch.item, batch.user[:, None].expand_as(batch.item)
        audience = self.audience.on(item.device)
        own = audience.contains(item, user)
        distinct, where = item.unique(return_inverse=True)
        where[own] = len(distinct) + torch.arange(int(own.sum()), device=item.device)
        heard = audience.take(torch.cat([distinct, item[own]]))
        left_out = torch.cat([torch.full_like(distinct, -1), user[own]])
        kept = heard.values != left_out[heard.rows]
        row, heard = heard.rows[kept], heard.values[kept]

        energy = look_up(heard, (self.key(self.user.weight).tanh() @ self.query)[:, None])  # [E, 1]
        none = energy.new_zeros(len(left_out), 1)
        largest = none.scatter_reduce(0, row[:, None], energy.detach(), "amax", include_self=False)
        score = (energy - largest[row]).exp()
        weighed = none.expand(-1, self.user.embedding_dim).index_add(
            0, row, score * look_up(heard, self.user.weight)
        )
        total = none.index_add(0, row, score).clamp(min=1.0)  # less only where nobody is left
        return look_up(where, weighed / total)


class DELF(Model):
    """``x_ui = w · [z¹ ⊕ z² ⊕ z³ ⊕ z⁴] + b``: MLPs on the pairs of id and history vectors

    ``z¹ = MLP(p_u ⊕ q_i)``, ``z² = MLP(m_u ⊕ n_i)``, ``z³ = MLP(p_u ⊕ n_i)``, ``z⁴ = MLP(m_u ⊕ q_i)``,

    where ``m_u`` pools the user's history without the target, and ``n_i`` the item's audience
    without the user, by attention with a global query each and keys ``tanh(W y + b)``.

    Cheng et al., "DELF: A Dual-Embedding based Deep Latent Factor Model for Recommendation" (2018).
    A point-estimate model, and Bayesian by ``scores=Scores(..)``: then the scores of the user's
    history are a latent site ``"attention"``; and by ``audience_scores=``: those of the target's audience
    are a site ``"audience_attention"``, drawn anew for every pair (scope ``"interaction"``), as they belong to an
    item and all its users, and a batch is made of users.

    Args:
        histories: Vocabularies, histories and audiences.
        embedding_dim: Length of the vectors.
        layers: Lengths of the outputs of each of the four MLPs.
        dropout: Probability that an output is dropped in training.
        scores: ``Point()``, or how the scores of the user's history are distributed.
        audience_scores: ``Point()``, or how those of the target's audience are, of scope ``"interaction"``.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = DELF(br.data.histories(split), embedding_dim=8)
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        layers: Sequence[int] = (64, 32, 16),
        dropout: float = 0.0,
        scores: Scores | Point = Point(),
        audience_scores: Scores | Point = Point(),
    ):
        super().__init__(histories)
        self.user = embedding(histories.n_users, embedding_dim)
        self.item = embedding(histories.n_items, embedding_dim)
        self.history = embedding(histories.n_items, embedding_dim)
        self.key = nn.Linear(embedding_dim, embedding_dim)
        self.query = nn.Parameter(0.1 * torch.randn(embedding_dim))
        self.attention = Attention(embedding_dim, scores=scores, beta=1.0)
        self.audience = Audience(histories, embedding_dim)
        # Without random scores an item's users are pooled once per item, by Audience itself.
        self.audience_attention = (
            None
            if isinstance(audience_scores, Point)
            else Attention(embedding_dim, scores=audience_scores, beta=1.0, over="audience")
        )
        self.towers = nn.ModuleList(
            tower(2 * embedding_dim, layers, dropout=dropout) for _ in range(4)
        )
        self.match = nn.Linear(4 * layers[-1], 1)

    @classmethod
    def as_published(
        cls,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        layers: Sequence[int] = (64, 32, 16),
    ) -> DELF:
        """The formulas as written, which the defaults are: plain ``MLP_ReLU``, and a softmax on either side."""
        return cls(histories, embedding_dim=embedding_dim, layers=layers)

    def attend(self, batch: Batch) -> dict[str, Attended]:
        history = self.history(batch.history)
        query = self.query.expand(len(batch.user), 1, -1)
        entries = HistoryEntries(batch, self.key(history).tanh(), history)
        sites = {"attention": self.attention(query, entries)}
        if self.audience_attention is not None:
            query = self.audience.query.expand(len(batch.user), 1, -1)
            sites["audience_attention"] = self.audience_attention(
                query, self.audience.entries(batch)
            )
        return sites

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        m = contexts["attention"]
        p = self.user(batch.user)[:, None].expand_as(m)
        heard = contexts.get("audience_attention")
        n = (self.audience(batch) if heard is None else heard).expand_as(m)
        q = self.item(batch.item).expand_as(m)
        pairs = [(p, q), (m, n), (p, n), (m, q)]
        z = [
            layers(torch.cat(pair, dim=-1)) for layers, pair in zip(self.towers, pairs, strict=True)
        ]
        return self.match(torch.cat(z, dim=-1)).squeeze(-1)
