"""Item-item attention: a recommendation is the sum of what the history contributes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayes_recsys.arguments import check_number, check_whole
from bayes_recsys.data.batches import Batch, candidates
from bayes_recsys.data.history import Histories
from bayes_recsys.models.base import Model
from bayes_recsys.models.options import Options
from bayes_recsys.nn.attention import Attended, Attention
from bayes_recsys.nn.entries import HistoryEntries
from bayes_recsys.nn.kernel import ItemKernel
from bayes_recsys.nn.modes import evaluating
from bayes_recsys.nn.pooling import match
from bayes_recsys.nn.tables import embedding
from bayes_recsys.nn.weights import simplex
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import Scores


class ItemSimilarity(Model):
    """``x_ui = b_i + Σ_{j ∈ R} (α_uj h_j · q_i + κ |R|^-β B_ji)`` over the history ``R = R_u \\ {i}``: item-item weights of
    low rank, attended to, and, in predictions, those of EASE in closed form.

    The attention ``α_uj``, from scores of mean ``exp(a_u · k_j)``, is how much a user's choice says of their others. A logit is exactly
    the sum of what each choice contributes. It is made for
    :class:`~bayes_recsys.likelihoods.Softmax` with hidden history (``Training(history_dropout=0.7)``), as Liang et al.,
    "Variational Autoencoders for Collaborative Filtering" (2018), and Steck, "Embarrassingly Shallow Autoencoders"
    (2019), would have it; latent site ``"attention"``.

    The kernel ``B`` is fitted to the training part, so that of a training choice it knows the answer: learned along with it,
    the low-rank part would learn to take that back. It is added where the model predicts, not where it is told the labels,
    with a weight that the validation part chooses, and evenly: its sum over a history is what it was fitted for.

    Args:
        histories: Vocabularies and histories. Give ``data.histories(split, max_length=10**6)``: no choice is left out
            of the sum.
        embedding_dim: Length of ``h`` and ``q``.
        attention_dim: Length of ``a`` and ``k``.
        scores: How the scores are distributed, of scope ``"user"``; or ``Point()``.
        energy: ``"dot"``, ``"prod"`` or ``"concat"``.
        beta: Smoothing exponent of ``α = s / (Σ s)^β``, ``0 < β ≤ 1``.
        kernel: ``κ``, not negative; 0 for none. :func:`~bayes_recsys.inference.kernel_choice.choose_kernel` finds it.
        l2: The kernel's penalty, positive.

    Raises:
        ValueError: An option is unknown or out of range, or the scope is another.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = ItemSimilarity(br.data.histories(split), embedding_dim=8, kernel=2.0)
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 256,
        attention_dim: int = 32,
        scores: Scores | Point = Scores(),
        energy: str = "dot",
        beta: float = 0.5,
        kernel: float = 0.0,
        l2: float = 200.0,
    ):
        super().__init__(histories)
        check_whole("attention_dim", attention_dim)
        if isinstance(scores, Scores) and scores.scope != "user":
            raise ValueError(
                f"scope={scores.scope!r}: here a score is the user's, the same for all targets; use scope='user'"
            )
        self.item = embedding(histories.n_items, embedding_dim)
        self.history = embedding(histories.n_items, embedding_dim)
        self.item_bias = nn.Parameter(torch.zeros(histories.n_items))
        self.query = embedding(histories.n_users, attention_dim)
        self.key = embedding(histories.n_items, attention_dim)
        self.attention = Attention(attention_dim, energy=energy, scores=scores, beta=beta)
        self.use_kernel(kernel, l2)

    def use_kernel(self, weight: float, l2: float) -> None:
        """Have a kernel of this weight ``κ`` and penalty, and say so in ``options``
        (:func:`~bayes_recsys.inference.kernel_choice.choose_kernel` finds what suits).

        Raises:
            ValueError: A number is out of range.
        """
        check_number("kernel", weight, least=0)
        check_number("l2", l2, above=0)
        if (known := getattr(self, "kernel", None)) is None or known.l2 != l2:
            self.kernel = ItemKernel(self.histories.audience, self.histories.n_users, l2)
        self.weight = weight
        values = {**self.options.values, "kernel": float(weight), "l2": float(l2)}
        object.__setattr__(self, "options", Options(type(self), values))

    def attend(self, batch: Batch) -> dict[str, Attended]:
        value, key = self.history(batch.history), self.key(batch.history)
        if self.adds_kernel(batch):
            of_kernel, _ = self.kernel.tables(value.device)
            value = torch.cat([value, of_kernel[batch.history]], dim=-1)
        entries = HistoryEntries(batch, key, value)
        return {"attention": self.attention(self.query(batch.user)[:, None], entries)}

    def adds_kernel(self, batch: Batch) -> bool:
        """Whether the kernel is part of the sum: of what is observed it knows the answer."""
        return self.weight > 0 and batch.label is None

    def logits_of(
        self, batch: Batch, attended: dict[str, Attended], strengths: dict[str, Tensor]
    ) -> Tensor:
        (site,), (log_power,) = attended.values(), strengths.values()
        value, beta, width = site.entries.value, site.attention.beta, self.item.embedding_dim
        logit = match(log_power, value[..., :width], self.item.weight, batch, beta)
        if self.adds_kernel(batch):
            _, of_kernel = self.kernel.tables(value.device)
            even = torch.zeros_like(log_power)
            of_history = match(even, value[..., width:], of_kernel, batch, beta)
            logit = logit + self.weight * of_history
        return logit + (self.item_bias if batch.whole else self.item_bias[batch.item])

    @torch.no_grad()
    def contributions(self, user: Tensor, item: Tensor, weights: Tensor | None = None) -> Tensor:
        """What each choice contributes to a logit: with ``item_bias`` they add up to it.

        Args:
            user: User codes, ``[G]``.
            item: Candidate codes, ``[G, C]``.
            weights: Drawn attention weights ``[S, G, C, L]``, ``draw(model, user, item).weights["attention"]``;
                ``None`` for those of expected scores.

        Returns:
            ``[.., G, C, L]`` in the order of ``model.histories.history``; NaN where there is no such choice, or it is
            the candidate itself.

        Example:
            >>> import bayes_recsys as br
            >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
            >>> model = ItemSimilarity(br.data.histories(split), embedding_dim=8, kernel=2.0).eval()
            >>> user, item = torch.tensor([0]), torch.tensor([[3, 4, 5]])
            >>> of_choices = model.contributions(user, item).nansum(-1) + model.item_bias[item]
            >>> torch.allclose(of_choices, model.score(user, item), atol=1e-6)
            True
            >>> drawn = br.draw(model, user, item, draws=9).weights["attention"]
            >>> model.contributions(user, item, drawn).shape == drawn.shape
            True
        """
        with evaluating(self):
            batch = candidates(self.histories, user, item).to(self.device)
            (site,) = self.attend(batch).values()
            width, valid = self.item.embedding_dim, site.entries.present.mask
            if weights is None:
                weights = site.weights(site.expected_log_power())
            value = site.entries.value
            each = weights.to(self.device) * (self.item(batch.item) @ value[..., :width].mT)
            if self.adds_kernel(batch):
                _, of_kernel = self.kernel.tables(value.device)
                even = simplex(
                    torch.zeros_like(valid, dtype=value.dtype), valid, site.attention.beta
                )
                each = each + self.weight * even * (of_kernel[batch.item] @ value[..., width:].mT)
        return each.masked_fill(~valid, torch.nan).cpu()
