"""Attention over a history, the only place where latent sites live."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from bayes_recsys.families import Family, LogNormal, Point
from bayes_recsys.nn.energies import energy as make_energy
from bayes_recsys.nn.simplex import simplex

# ln of the contextual prior's means is held within this before they are normalised.
PRIOR_RANGE = 10.0


class Attention(nn.Module):
    """Bayesian attention: every (query, history entry) has a positive random score.

    ===========  ===================================================================
    energy       ``f(query, key)``, deterministic
    guide        ``s ~ guide family with mean exp(energy)``
    prior        ``s ~ prior family with mean from the keys alone``, averaging one
    weight       ``α = s^τ / (Σ s^τ)^β``
    context      ``Σ_j α_j value_j``
    ===========  ===================================================================

    The contextual prior follows Fan et al., "Bayesian Attention Modules" (2020), section 3.2: a
    two-layer network on the key, normalised over the valid history. Here it averages to one, the
    level of ``exp(0)``, so that prior and guide live on the same scale.

    Args:
        dim: Length ``K`` of queries and keys.
        energy: ``"dot"``, ``"prod"`` or ``"concat"``.
        guide: Family of the approximate posterior; ``Point()`` makes attention deterministic.
        prior: Family of the prior; ``None`` for the default, ``LogNormal(1.0)`` beside a
            ``LogNormal`` guide and ``Point()`` beside a ``Point``.
        beta: Smoothing ``0 < β ≤ 1``.
        tau: Sharpening ``τ ≥ 1``.
        hidden: Width of the energy network and of the prior's.

    Raises:
        ValueError: β or τ is out of range, the energy is unknown, or only one of prior and guide
            is ``Point``.
    """

    def __init__(
        self,
        dim: int,
        *,
        energy: str = "dot",
        guide: Family = LogNormal(scale=0.1),
        prior: Family | None = None,
        beta: float = 0.5,
        tau: float = 1.0,
        hidden: int = 16,
    ):
        super().__init__()
        if not 0 < beta <= 1:
            raise ValueError(f"beta must be in (0, 1], not {beta}")
        if not tau >= 1:
            raise ValueError(f"tau must be at least 1, not {tau}")
        for name, family in (("guide", guide), ("prior", prior)):
            if family is not None and not isinstance(family, Family):
                raise TypeError(
                    f"{name} must be a family like LogNormal(scale=0.1), not {family!r}"
                )
        if prior is None:
            prior = Point() if isinstance(guide, Point) else LogNormal(scale=1.0)
        if isinstance(prior, Point) != isinstance(guide, Point):
            raise ValueError(
                f"prior={prior} and guide={guide} contradict each other: Point has no latent "
                "score, so it must be both or neither"
            )
        self.energy = make_energy(energy, dim, hidden)
        self.guide_family, self.prior_family = guide, prior
        self.beta, self.tau = beta, tau
        if self.is_random:
            # No last bias: the normalisation would take it away again.
            self.prior_network = nn.Sequential(
                nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False)
            )

    @property
    def is_random(self) -> bool:
        """Whether scores are latent (false for ``Point``)."""
        return not isinstance(self.guide_family, Point)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor) -> Attended:
        """Attend: queries ``[G, C or 1, K]`` over keys and values ``[G, L, K]``, where valid
        ``[G, C, L]``. Nothing is computed yet; see :class:`Attended`."""
        return Attended(self, query, key, value, valid)


@dataclass(frozen=True)
class Attended:
    """What attends over what: the queries, keys and values of one latent site of shape ``[G, C, L]``."""

    attention: Attention
    query: Tensor
    key: Tensor
    value: Tensor
    valid: Tensor

    def guide(self) -> TorchDistribution:
        """Approximate posterior of the scores, mean ``exp(f(query, key))``, batch ``[G, C, L]``."""
        energy = self.attention.energy(self.query, self.key)
        return self.attention.guide_family.distribution(energy.expand(self.valid.shape))

    def prior(self) -> TorchDistribution:
        """Prior of the scores, batch ``[G, C, L]``; the means average one over the valid entries."""
        raw = self.attention.prior_network(self.key).mT  # [G, 1, L]
        raw = PRIOR_RANGE * torch.tanh(raw / PRIOR_RANGE)
        valid = self.valid.to(raw.dtype)
        total = valid @ raw.exp().mT  # [G, C, 1]
        count = valid.sum(-1, keepdim=True)
        # An empty history has nothing to normalise, and its sites are masked.
        log_average = (total / count.clamp(min=1)).masked_fill(count == 0, 1.0).log()
        return self.attention.prior_family.distribution(raw - log_average)

    def weights(self, score: Tensor) -> Tensor:
        """Attention weights of drawn scores, both ``[.., G, C, L]``."""
        log_power = score.log() if self.attention.tau == 1 else self.attention.tau * score.log()
        return simplex(log_power, self.valid, self.attention.beta)

    def expected_weights(self) -> Tensor:
        """Weights ``E[s^τ] / (Σ E[s^τ])^β`` under the guide, ``[G, C, L]``: no sampling."""
        energy = self.attention.energy(self.query, self.key)
        log_power = self.attention.guide_family.log_moment(energy, self.attention.tau)
        return simplex(log_power, self.valid, self.attention.beta)

    def context(self, weights: Tensor) -> Tensor:
        """Pooled values ``Σ_j α_j value_j``, shape ``[.., G, C, K]``."""
        return torch.matmul(weights, self.value)
