"""Attention over a history or an audience, the only place where latent sites live."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from bayes_recsys.arguments import check_whole
from bayes_recsys.memory import check_memory
from bayes_recsys.nn.energies import energy as make_energy
from bayes_recsys.nn.entries import Entries
from bayes_recsys.nn.scale import Scale
from bayes_recsys.nn.weights import simplex
from bayes_recsys.scores.distribution import (
    LARGEST_LOG_MEAN,
    LEARNED_SCALES,
    RandomFamily,
    Score,
    log_of,
)
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.present import Present
from bayes_recsys.scores.spec import Scores

OVER = ("history", "audience")
# Energies are what they are up to here; beyond they grow ever slower, to no more than LARGEST_LOG_MEAN.
LARGEST_EXACT = 30.0
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

    Energies beyond 30 (scores beyond ``e^30``) are bounded by 40, smoothly.

    Args:
        dim: Length ``K`` of queries and keys.
        energy: ``"dot"``, ``"prod"`` or ``"concat"``.
        scores: How the scores are distributed; ``Point()`` makes attention deterministic.
        beta: Smoothing ``0 < β ≤ 1``.
        tau: Sharpening ``τ ≥ 1``.
        hidden: Width of the energy network and of the prior's.
        over: What is attended over: ``"history"``, the user's, the same for all targets, or
            ``"audience"``, each target its own.
        by_target: Whether queries over a history differ by target. Over audiences everything does.

    Raises:
        ValueError: β, τ or ``hidden`` is out of range, energy or ``over`` is unknown, or the scores
            have the scope ``"user"`` and differ by target.
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
        over: str = "history",
        by_target: bool = False,
    ):
        super().__init__()
        if not 0 < beta <= 1:
            raise ValueError(f"beta must be in (0, 1], not {beta}")
        if not tau >= 1:
            raise ValueError(f"tau must be at least 1, not {tau}")
        check_whole("hidden", hidden)
        check_memory(8.0 * dim * hidden, "the energy's network", "hidden")
        if not isinstance(scores, Scores | Point):
            raise TypeError(f"scores must be Scores(guide=.., prior=..) or Point(), not {scores!r}")
        if over not in OVER:
            raise ValueError(f"over must be one of {', '.join(OVER)}, not {over!r}")
        self.energy = make_energy(energy, dim, hidden)
        self.scores, self.beta, self.tau = scores, beta, tau
        self.over, self.by_target = over, by_target or over == "audience"
        self.of_user = isinstance(scores, Scores) and scores.scope == "user"
        if self.of_user and self.by_target:
            raise ValueError(
                "scope='user', one score for all of a user's targets, contradicts scores that differ by "
                "target; use scope='interaction' or Point()"
            )
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

    def forward(self, query: Tensor, entries: Entries) -> Attended:
        """Attend: queries ``[G, C or 1, K]`` over the entries of a history or of audiences. Nothing
        is computed yet; see :class:`Attended`.

        Raises:
            ValueError: Queries or entries are not what ``by_target`` and ``over`` say.
        """
        if entries.over != self.over:
            raise ValueError(
                f"these are entries of the {entries.over}; say Attention(.., over={entries.over!r})"
            )
        if query.shape[-2] != 1 and not self.by_target:
            raise ValueError("these queries differ by target; say Attention(.., by_target=True)")
        return Attended(self, query, entries)


@dataclass(frozen=True)
class Attended:
    """What attends over what: one latent site with its queries and entries.

    Args:
        attention: The module.
        query: ``[G, C or 1, K]``.
        entries: Keys and values.
    """

    attention: Attention
    query: Tensor
    entries: Entries

    @property
    def present(self) -> Present:
        """Which scores there are."""
        return self.entries.batch.present_to_all if self.attention.of_user else self.entries.present

    @property
    def mask(self) -> Tensor:
        """The same as a table of the latent site's shape, ``[G, C, L]``, or ``[G, 1, L]`` with scope
        ``"user"``."""
        return self.present.mask

    @cached_property
    def energy(self) -> Tensor:
        """``f(query, key)``, ``[G, C or 1, L]``, within ±40."""
        return bounded(self.entries.of_pairs(self.attention.energy, self.query))

    def guide(self) -> Score:
        """Approximate posterior of the scores, mean ``exp(f(query, key))``, batch shape of the
        site."""
        return self._guide_family().distribution(self.energy.expand(self.present.shape))

    def prior(self) -> Score:
        """Prior of the scores, batch shape of the site."""
        return self._prior_family().distribution(self._prior_log_mean().expand(self.present.shape))

    def log_power(self, score: Tensor) -> Tensor:
        """``τ ln s`` of drawn scores, same shape."""
        return log_of(score) if self.attention.tau == 1 else self.attention.tau * log_of(score)

    def expected_log_power(self) -> Tensor:
        """``ln E[s^τ]`` under the guide, ``[G, C or 1, L]``: no sampling."""
        return self._guide_family().log_moment(self.energy, self.attention.tau)

    def weights(self, log_power: Tensor) -> Tensor:
        """Attention weights ``[.., G, C, L]`` from ``τ ln s`` or ``ln E[s^τ]``."""
        return simplex(log_power, self.entries.present.mask, self.attention.beta)

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
            return bounded(self.attention.prior_level)
        raw = self.entries.of_keys(self.attention.prior_network)  # [G, C or 1, L]
        raw = PRIOR_RANGE * torch.tanh(raw / PRIOR_RANGE)
        if self.attention.of_user:
            total = (raw.exp() * self.present.there).sum(-1, keepdim=True)
        else:
            total = self.entries.sum_exp(raw)
        count = self.present.count[..., None]
        # An empty history has nothing to normalise, and its sites are masked.
        average = (total / count.clamp(min=1)).masked_fill(count == 0, 1.0)
        return raw + -average.log()


def bounded(energy: Tensor) -> Tensor:
    """The energy where it is within ±30; beyond, ``±(30 + 10 tanh((|f| - 30) / 10))``: bounded, and the
    larger the energy the larger still, so that a gradient leads back.

    Example:
        >>> bounded(torch.tensor([1.5, -30.0, 35.0, 1e4]))
        tensor([  1.5000, -30.0000,  34.6212,  40.0000])
    """
    if energy.is_cpu:  # elsewhere the question would wait for the answer
        low, high = energy.detach().aminmax() if energy.numel() else (0.0, 0.0)
        if low >= -LARGEST_EXACT and high <= LARGEST_EXACT:
            return energy
    inner = energy.clamp(-LARGEST_EXACT, LARGEST_EXACT)
    room = LARGEST_LOG_MEAN - LARGEST_EXACT
    return inner + room * ((energy - inner) / room).tanh()
