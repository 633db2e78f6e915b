"""Neural attentive item similarity."""

from __future__ import annotations

from torch import Tensor

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.models.base import Model
from bayes_recsys.nn.attention import Attended, Attention
from bayes_recsys.nn.entries import HistoryEntries
from bayes_recsys.nn.tables import embedding
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import Scores


class NAIS(Model):
    """``x_ui = q_i · Σ_{j ∈ R} α_ij h_j``: the target attends over the history ``R = R_u \\ {i}``.

    He et al., "NAIS: Neural Attentive Item Similarity Model for Recommendation" (2018), section
    3.3: ``α`` from scores ``exp f(q_i, h_j)`` with a smoothed softmax. A point-estimate model, and
    Bayesian with ``scores=Scores(.., scope="interaction")``: then there is a latent site
    ``"attention"``, ``[G, C, L]``.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.
        energy: ``"prod"`` or ``"concat"`` of the paper, or ``"dot"``.
        scores: ``Point()``, or how the scores are distributed; of scope ``"interaction"``.
        beta: Smoothing exponent, ``0 < β ≤ 1``.
        hidden: Width of the energy network.

    Raises:
        ValueError: An option is unknown or out of range, or the scope is ``"user"``.

    Example:
        >>> import torch
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = NAIS(br.data.histories(split), embedding_dim=8, energy="concat")
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        energy: str = "prod",
        scores: Scores | Point = Point(),
        beta: float = 0.5,
        hidden: int = 16,
    ):
        super().__init__(histories)
        self.item = embedding(histories.n_items, embedding_dim)
        self.history = embedding(histories.n_items, embedding_dim)
        self.attention = Attention(
            embedding_dim, energy=energy, scores=scores, beta=beta, hidden=hidden, by_target=True
        )

    def attend(self, batch: Batch) -> dict[str, Attended]:
        history = self.history(batch.history)
        entries = HistoryEntries(batch, history, history)
        return {"attention": self.attention(self.item(batch.item), entries)}

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        return (self.item(batch.item) * contexts["attention"]).sum(-1)
