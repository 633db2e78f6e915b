"""Attention over a history, the only place where latent sites live."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayes_recsys.distributions import LEARNED_SCALES, RandomFamily, Score
from bayes_recsys.families import Point
from bayes_recsys.nn.energies import energy as make_energy
from bayes_recsys.nn.entries import AudienceEntries, Entries
from bayes_recsys.nn.scale import Scale
from bayes_recsys.nn.simplex import simplex
from bayes_recsys.scores import Scores

# ln of the contextual prior's means is held within this before they are normalised.
PRIOR_RANGE = 10.0
# Where a learned scale of the prior starts. The guide's starts as wide as the prior.
PRIOR_SCALE = 1.0


class Attention(nn.Module):
    """Bayesian attention: every (query, history entry) has a positive random score.

    ===========  ===================================================================
    energy       ``f(query, key)``, deterministic
    guide        ``s ~ guide family with mean exp(energy)``
    prior        ``s ~ prior family``, its mean one, or learned, or from the keys alone
    weight       ``α = s^τ / (Σ s^τ)^β``
    context      ``Σ_j α_j value_j``
    ===========  ===================================================================

    The contextual prior follows Fan et al., "Bayesian Attention Modules" (2020), section 3.2: a
    two-layer network on the key, normalised over the valid history. Here it averages to one, the
    level of ``exp(0)``, so that prior and guide live on the same scale.

    Args:
        dim: Length ``K`` of queries and keys.
        energy: ``"dot"``, ``"prod"`` or ``"concat"``.
        scores: How the scores are distributed; ``Point()`` makes attention deterministic.
        beta: Smoothing ``0 < β ≤ 1``.
        tau: Sharpening ``τ ≥ 1``.
        hidden: Width of the energy network and of the prior's.

    Raises:
        ValueError: β, τ or ``hidden`` is out of range, or the energy is unknown.
    """

    def __init__(
        self,
        dim: int,
        *,
        energy: str = "dot",
        scores: Scores | Point = Scores(),
        beta: float = 0.5,
        tau: float = 1.0,
        hidden: int = 16,
    ):
        super().__init__()
        if not 0 < beta <= 1:
            raise ValueError(f"beta must be in (0, 1], not {beta}")
        if not tau >= 1:
            raise ValueError(f"tau must be at least 1, not {tau}")
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {hidden}")
        if not isinstance(scores, Scores | Point):
            raise TypeError(f"scores must be Scores(guide=.., prior=..) or Point(), not {scores!r}")
        self.energy = make_energy(energy, dim, hidden)
        self.scores, self.beta, self.tau = scores, beta, tau
        if isinstance(scores, Point):
            return
        start = PRIOR_SCALE if scores.prior.scale in LEARNED_SCALES else scores.prior.scale
        if scores.guide.scale in LEARNED_SCALES:
            self.guide_scale = Scale(dim, scores.guide.scale, start)
        if scores.prior.scale in LEARNED_SCALES:
            self.prior_scale = Scale(dim, scores.prior.scale, start)
        if scores.prior_mean == "contextual":
            # No last bias: the normalisation would take it away again.
            self.prior_network = nn.Sequential(
                nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False)
            )
        elif scores.prior_mean == "learned":
            self.prior_level = nn.Parameter(torch.zeros(()))

    @property
    def is_random(self) -> bool:
        """Whether scores are latent (false for ``Point``)."""
        return isinstance(self.scores, Scores)

    def forward(self, query: Tensor, entries: Entries, times: str | None = None) -> Attended:
        """Attend: queries ``[G, C or 1, K]`` over the entries of a history or of audiences. Nothing
        is computed yet; see :class:`Attended`.

        Raises:
            ValueError: The scope is ``"user"``, and queries or entries differ by target.
        """
        differ = query.shape[-2] != 1 or isinstance(entries, AudienceEntries)
        if self.is_random and self.scores.scope == "user" and differ:
            raise ValueError(
                "scope='user' is one score for all of a user's targets, but here queries or entries "
                "differ by target; use scope='interaction' for this attention"
            )
        return Attended(self, query, entries, times)


@dataclass(frozen=True)
class Attended:
    """What attends over what: one latent site with its queries and entries.

    Args:
        attention: The module.
        query: ``[G, C or 1, K]``.
        entries: Keys and values.
        times: Name of another site whose scores multiply these, or ``None``.
    """

    attention: Attention
    query: Tensor
    entries: Entries
    times: str | None = None

    @property
    def is_of_user(self) -> bool:
        """Whether a score belongs to a user and an entry, not to each target."""
        return self.attention.is_random and self.attention.scores.scope == "user"

    @property
    def site(self) -> Tensor:
        """Which scores there are, the shape of the latent site: ``[G, C, L]``, or ``[G, 1, L]`` with
        scope ``"user"``."""
        batch = self.entries.batch
        return batch.history_mask[:, None] if self.is_of_user else self.entries.valid

    def guide(self) -> Score:
        """Approximate posterior of the scores, mean ``exp(f(query, key))``, batch shape of the
        site."""
        energy = self.entries.of_pairs(self.attention.energy, self.query)
        return self._guide_family().distribution(energy.expand(self.site.shape))

    def prior(self) -> Score:
        """Prior of the scores, batch shape of the site."""
        return self._prior_family().distribution(self._prior_log_mean().expand(self.site.shape))

    def log_power(self, score: Tensor) -> Tensor:
        """``τ ln s`` of drawn scores, same shape."""
        return score.log() if self.attention.tau == 1 else self.attention.tau * score.log()

    def expected_log_power(self) -> Tensor:
        """``ln E[s^τ]`` under the guide, ``[G, C or 1, L]``: no sampling."""
        energy = self.entries.of_pairs(self.attention.energy, self.query)
        return self._guide_family().log_moment(energy, self.attention.tau)

    def weights(self, log_power: Tensor) -> Tensor:
        """Attention weights ``[.., G, C, L]`` from ``τ ln s`` or ``ln E[s^τ]``."""
        return simplex(log_power, self.entries.valid, self.attention.beta)

    def context(self, log_power: Tensor) -> Tensor:
        """Pooled values ``Σ_j α_j value_j``, shape ``[.., G, C, K]``."""
        return self.entries.pool(log_power, self.attention.beta)

    def _guide_family(self) -> RandomFamily | Point:
        scores = self.attention.scores
        if isinstance(scores, Point):
            return scores
        if scores.guide.scale not in LEARNED_SCALES:
            return scores.guide
        return scores.guide.with_scale(self._learned(self.attention.guide_scale))

    def _prior_family(self) -> RandomFamily:
        prior = self.attention.scores.prior
        if prior.scale not in LEARNED_SCALES:
            return prior
        return prior.with_scale(self._learned(self.attention.prior_scale))

    def _learned(self, scale: Scale) -> Tensor:
        return self.entries.of_pairs(scale, self.query)

    def _prior_log_mean(self) -> Tensor:
        """``ln`` of the prior's means; the contextual ones average one over the valid entries."""
        how = self.attention.scores.prior_mean
        if how == "constant":
            return self.query.new_zeros(())
        if how == "learned":
            return self.attention.prior_level
        raw = self.entries.of_keys(self.attention.prior_network)  # [G, C or 1, L]
        raw = PRIOR_RANGE * torch.tanh(raw / PRIOR_RANGE)
        valid = self.site.to(raw.dtype)
        if raw.shape[-2] == 1:  # the same keys for all targets: a product of matrices
            total = valid @ raw.exp().mT
        else:
            total = (valid * raw.exp()).sum(-1, keepdim=True)
        count = valid.sum(-1, keepdim=True)
        # An empty history has nothing to normalise, and its sites are masked.
        log_average = (total / count.clamp(min=1)).masked_fill(count == 0, 1.0).log()
        return raw - log_average


def combined(attended: dict[str, Attended], log_power: dict[str, Tensor]) -> dict[str, Tensor]:
    """``τ ln s`` or ``ln E[s^τ]`` of every site, where one site's scores multiply another's: their
    logarithms add."""
    return {
        name: log_power[name] if site.times is None else log_power[name] + log_power[site.times]
        for name, site in attended.items()
    }
