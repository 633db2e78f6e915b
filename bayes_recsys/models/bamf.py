"""Bayesian attentional matrix factorisation."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.models.base import Model
from bayes_recsys.nn.attention import Attended, Attention
from bayes_recsys.nn.combine import Combine
from bayes_recsys.nn.entries import AudienceEntries, Entries, HistoryEntries
from bayes_recsys.nn.tables import embedding
from bayes_recsys.scores.distribution import RandomFamily
from bayes_recsys.scores.families import LogNormal, Point
from bayes_recsys.scores.spec import Scores

CHOICES = {
    "history": ("user", "item", "both"),
    "item_table": ("separate", "shared"),
    "values": ("shared", "separate"),
    "strength": (None, "user", "both"),
}


class BAMF(Model):
    """Bayesian attentional matrix factorisation (Wang and Lee, 2024).

    User and item each have a global vector (``p``, ``q``); each attends over the *user's* history
    without the target, and what it finds there is its local preference::

        c_u = Σ_j α_uj h_j,   α from scores s_uj ~ guide with mean exp(f(p_u, h_j))
        c_i = Σ_j α_ij h_j,   α from scores s_ij ~ guide with mean exp(f(q_i, h_j))
        z_u = combine(p_u, c_u),   z_i = combine(q_i, c_i)
        x_ui = hᵀ (W (z_u ⊙ z_i) + b)

    With ``history="item"`` both attend over the *audience* of the target instead, the users who chose
    it, without the user; with ``"both"``, the user attends over the history and the item over its
    audience.

    Latent sites: ``user_attention`` and ``item_attention``, each a score for every (user, target,
    entry), ``[G, C, L]``; with scope ``"user"`` the first is a score for every (user, history entry),
    ``[G, 1, L]``. A side of ``Point()`` has no site.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length ``K`` of the vectors.
        history: What is attended over: ``"user"``, the user's history, as in the paper; ``"item"``, the
            target's audience; ``"both"``, by each side its own.
        energy: ``"dot"``, or the networks ``"prod"`` and ``"concat"``.
        combine: How a global vector and its context become one: ``"prod"`` is the original,
            ``layernorm(p ⊙ c)``; ``"context"`` uses the context alone; also ``"sum"``, ``"mean"``,
            ``"cat"``, ``"att"`` (see :class:`~bayes_recsys.nn.combine.Combine`).
        item_table: ``"separate"`` tables for items as targets and as history entries, or
            ``"shared"``: both roles are linear maps of one table.
        values: ``"shared"``: what is pooled are the vectors that are attended to, ``h``; or
            ``"separate"`` vectors for it.
        user_scores: The user's scores: :class:`~bayes_recsys.scores.spec.Scores` or ``Point()``.
        item_scores: The target's scores, of scope ``"interaction"``, or ``Point()``.
        strength: Where the user's scores count. ``"user"``: in the user's context alone, as in the
            paper. ``"both"``: they multiply the target's scores too, so that a choice that says
            little of the user weighs little wherever it is attended to; impossible where the sides attend over
            different entries (``history="both"``). The default is ``"both"``, but ``"user"`` where that is
            impossible or the target has random scores of its own.
        beta: Smoothing exponent of the weights, ``0 < β ≤ 1``.
        tau: Sharpening exponent of the scores, ``τ ≥ 1``.
        hidden: Width of the networks of ``prod`` and ``concat`` energies and of contextual priors.
        dropout: Probability that an entry of ``z_u ⊙ z_i`` is dropped in training, in [0, 1).

    Raises:
        ValueError: An option is unknown, out of range, or contradicts another.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = BAMF(br.data.histories(split), embedding_dim=8, energy="prod")
        >>> model.score(torch.tensor([0, 1]), torch.tensor([[3, 4, 5], [3, 4, 5]])).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        history: str = "user",
        energy: str = "dot",
        combine: str = "context",
        item_table: str = "separate",
        values: str = "shared",
        user_scores: Scores | Point = Scores(),
        item_scores: Scores | Point = Point(),
        strength: str | None = None,
        beta: float = 0.5,
        tau: float = 1.0,
        hidden: int = 16,
        dropout: float = 0.0,
    ):
        super().__init__(histories)
        _check_choices(history=history, item_table=item_table, values=values, strength=strength)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {dropout}")
        if strength is None:
            own = history == "both" or isinstance(item_scores, Scores)
            strength = "user" if own else "both"
        self.attends_over = history
        self.strength = strength
        self.user = embedding(histories.n_users, embedding_dim)
        items = embedding(histories.n_items, embedding_dim)

        def role() -> nn.Module:
            if item_table == "shared":
                return nn.Sequential(items, nn.Linear(embedding_dim, embedding_dim, bias=False))
            return embedding(histories.n_items, embedding_dim)

        self.item = items if item_table == "separate" else role()
        separate = values == "separate"
        if history != "item":
            self.history = role()
            self.value = role() if separate else None
        if history != "user":
            self.audience = embedding(histories.n_users, embedding_dim)
            self.audience_value = embedding(histories.n_users, embedding_dim) if separate else None
        attention = partial(
            Attention, embedding_dim, energy=energy, beta=beta, tau=tau, hidden=hidden
        )
        self.user_attention = attention(
            scores=user_scores, over="audience" if history == "item" else "history"
        )
        self.item_attention = attention(
            scores=item_scores, over="history" if history == "user" else "audience", by_target=True
        )
        self.user_combine = Combine(combine, embedding_dim)
        self.item_combine = Combine(combine, embedding_dim)
        width = self.user_combine.width
        self.match = nn.Sequential(nn.Linear(width, width), nn.Linear(width, 1, bias=False))
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def as_published(
        cls,
        histories: Histories,
        *,
        energy: str = "concat",
        embedding_dim: int = 32,
        item_table: str = "separate",
        guide: RandomFamily = LogNormal(0.1),
        prior: RandomFamily = LogNormal(1.0),
        prior_mean: str = "contextual",
        beta: float = 0.5,
        tau: float = 1.0,
        hidden: int = 16,
    ) -> BAMF:
        """The paper's model: random scores of every pair on both sides, each for its own context, and
        ``z = layernorm(p ⊙ c)``. What the paper leaves open, or tries several of, is an argument.

        Args:
            histories: Vocabularies and histories.
            energy: ``"concat"`` or ``"prod"``.
            embedding_dim: Length ``K`` of the vectors.
            item_table: ``"separate"``, as corrected, or ``"shared"``, as it was first.
            guide: Family of the approximate posterior; the paper's standard deviation of ``ln s`` is 0.1.
            prior: Family of the prior; the paper's is 1.0.
            prior_mean: ``"contextual"`` as in the Bayesian attention modules that the paper builds on, or
                ``"constant"``: the paper itself does not say.
            beta: Smoothing exponent, ``0 < β ≤ 1``; without a value in the paper.
            tau: Sharpening exponent, ``τ ≥ 1``; without a value in the paper.
            hidden: Width of the networks.

        Raises:
            ValueError: ``energy`` is another, or an option is out of range.

        Example:
            >>> import bayes_recsys as br
            >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
            >>> BAMF.as_published(br.data.histories(split), energy="prod").strength
            'user'
        """
        if energy not in ("concat", "prod"):
            raise ValueError(f"the paper's energy is 'concat' or 'prod', not {energy!r}")
        if prior_mean not in ("contextual", "constant"):
            raise ValueError(f"prior_mean is 'contextual' or 'constant' here, not {prior_mean!r}")
        scores = Scores(guide, prior, scope="interaction", prior_mean=prior_mean)
        return cls(
            histories,
            energy=energy,
            embedding_dim=embedding_dim,
            item_table=item_table,
            beta=beta,
            tau=tau,
            hidden=hidden,
            combine="prod",
            values="shared",
            history="user",
            user_scores=scores,
            item_scores=scores,
            strength="user",
            dropout=0.0,
        )

    def attend(self, batch: Batch) -> dict[str, Attended]:
        user, item = self.user(batch.user)[:, None], self.item(batch.item)
        of_user = self._audience(batch) if self.attends_over == "item" else self._history(batch)
        of_item = self._audience(batch) if self.attends_over == "both" else of_user
        return {
            "user_attention": self.user_attention(user, of_user),
            "item_attention": self.item_attention(item, of_item),
        }

    def strengths(self, log_power: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.strength == "user":
            return log_power
        product = log_power["item_attention"] + log_power["user_attention"]
        return {**log_power, "item_attention": product}

    def _history(self, batch: Batch) -> Entries:
        key = self.history(batch.history)
        value = key if self.value is None else self.value(batch.history)
        return HistoryEntries(batch, key, value)

    def _audience(self, batch: Batch) -> Entries:
        key = self.audience.weight
        value = key if self.audience_value is None else self.audience_value.weight
        return AudienceEntries.of(batch, self.histories.audience, key, value)

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        user, item = self.user(batch.user)[:, None], self.item(batch.item)
        z_user = self.user_combine(user, contexts["user_attention"])
        z_item = self.item_combine(item, contexts["item_attention"])
        return self.match(self.dropout(z_user * z_item)).squeeze(-1)


def _check_choices(**choices: str | None) -> None:
    """Refuse unknown choices, and those that contradict each other (``ValueError``)."""
    for name, choice in choices.items():
        if choice not in CHOICES[name]:
            known = ", ".join(one for one in CHOICES[name] if one is not None)
            raise ValueError(f"{name} must be one of {known}, not {choice!r}")
    if choices["strength"] == choices["history"] == "both":
        raise ValueError(
            "strength='both' contradicts history='both': user and target attend over different "
            "entries, so that their scores cannot be multiplied; use strength='user'"
        )
    if choices["item_table"] == "shared" and choices["history"] == "item":
        raise ValueError(
            "item_table='shared' contradicts history='item', where no item is attended over"
        )
