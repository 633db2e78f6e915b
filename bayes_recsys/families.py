"""How an attention score is distributed.

A family is a positive noise of mean one: a score is ``s = exp(log_mean) · noise``. Prior and guide
choose theirs separately. All families are sized by the same number, ``scale``, the standard
deviation of ``ln s``, so that a family can be swapped and the width stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy import special
from torch import Tensor

from bayes_recsys.distributions import RandomFamily


@dataclass(frozen=True)
class Point:
    """No distribution at all: the score *is* ``exp(energy)``, and there is no latent site.

    A model with ``guide=Point()`` is its own deterministic ablation, fitted by maximum likelihood.

    Example:
        >>> Point().log_moment(torch.tensor(0.5), power=2.0)
        tensor(1.)
    """

    def log_moment(self, log_mean: Tensor, power: float) -> Tensor:
        """``ln E[s^power] = power · log_mean``, shape of ``log_mean``."""
        return power * log_mean


@dataclass(frozen=True)
class LogNormal(RandomFamily):
    """``x ~ Normal(-σ²/2, σ)`` with ``σ = scale``: the paper's choice, 0.1 in the guide and 1.0 in
    the prior.

    Example:
        >>> LogNormal(scale=0.1).distribution(torch.zeros(3)).mean
        tensor([1., 1., 1.])
        >>> LogNormal(scale=0.5).log_moment(torch.tensor(0.0), power=2.0)  # ln E[s²] = σ²
        tensor(0.2500)
    """

    def log_noise(self, shape: torch.Size, like: Tensor) -> Tensor:
        noise = torch.randn(shape, dtype=like.dtype, device=like.device)
        return noise.mul_(self.scale).sub_(0.5 * self.scale**2)

    def log_density(self, x: Tensor) -> Tensor:
        standard = (x + 0.5 * self.scale**2) * (1 / self.scale)
        return -0.5 * standard.square() - (math.log(self.scale) + 0.5 * math.log(2 * math.pi))

    @property
    def expected_log(self) -> float:
        return -0.5 * self.scale**2

    @property
    def entropy_log(self) -> float:
        return math.log(self.scale) + 0.5 * (1 + math.log(2 * math.pi))

    def log_noise_moment(self, power: float) -> float:
        return 0.5 * power * (power - 1) * self.scale**2

    def expected_log_density(self, shift: Tensor, other: RandomFamily) -> Tensor:
        mean = shift + (other.expected_log + 0.5 * self.scale**2)
        square = (mean.square() + other.scale**2) / self.scale**2
        return -0.5 * square - (math.log(self.scale) + 0.5 * math.log(2 * math.pi))

    def closest_shift(self, other: RandomFamily) -> float:
        return -other.expected_log - 0.5 * self.scale**2


@dataclass(frozen=True)
class Gamma(RandomFamily):
    """``s ~ Gamma(shape a, rate a / E[s])`` with ``ψ'(a) = scale²``, ``ψ'`` the trigamma function.

    ======  ======  ======  ======  ======
    scale   0.1     0.5     1.0     2.0
    shape   100.5   4.473   1.426   0.562
    ======  ======  ======  ======  ======

    Example:
        >>> Gamma(scale=1.0).shape
        1.4262...
    """

    @cached_property
    def shape(self) -> float:
        """``a``, by Newton's method on ``ln ψ'(a)``, which is close to linear in ``ln a``."""
        log_a = -2 * math.log(self.scale) if self.scale < 1 else -math.log(self.scale)
        for _ in range(50):
            a = math.exp(log_a)
            gap = math.log(special.polygamma(1, a)) - 2 * math.log(self.scale)
            step = gap / (a * special.polygamma(2, a) / special.polygamma(1, a))
            log_a -= step
            if abs(step) < 1e-14:
                break
        return math.exp(log_a)

    @cached_property
    def _constant(self) -> float:
        """``a ln a - a - ln Γ(a)``."""
        return self.shape * math.log(self.shape) - self.shape - math.lgamma(self.shape)

    def log_noise(self, shape: torch.Size, like: Tensor) -> Tensor:
        # Gamma(a) = Gamma(a + 1) · U^(1/a): on the log scale a small shape cannot underflow.
        boost = self.shape < 1
        a = torch.full(shape, self.shape + boost, dtype=like.dtype, device=like.device)
        x = torch._standard_gamma(a).log_().sub_(math.log(self.shape))
        if boost:
            x.sub_(torch.empty_like(x).exponential_(), alpha=1 / self.shape)
        return x

    def log_density(self, x: Tensor) -> Tensor:
        return self._constant - self.shape * (x.expm1() - x)

    @property
    def expected_log(self) -> float:
        return float(special.digamma(self.shape)) - math.log(self.shape)

    @property
    def entropy_log(self) -> float:
        return -self._constant - self.shape * self.expected_log

    def log_noise_moment(self, power: float) -> float:
        a = self.shape
        return math.lgamma(a + power) - math.lgamma(a) - power * math.log(a)

    def expected_log_density(self, shift: Tensor, other: RandomFamily) -> Tensor:
        return self._constant - self.shape * (shift.expm1() - shift - other.expected_log)

    def closest_shift(self, other: RandomFamily) -> float:
        return 0.0


@dataclass(frozen=True)
class Weibull(RandomFamily):
    """``s ~ Weibull(concentration k, scale E[s] / Γ(1 + 1/k))`` with ``k = π / (√6 scale)``.

    ==============  ======  ======  ======  ======
    scale           0.1     0.5     1.0     2.0
    concentration   12.83   2.565   1.283   0.641
    ==============  ======  ======  ======  ======

    Example:
        >>> Weibull(scale=1.0).concentration
        1.2825...
    """

    @property
    def concentration(self) -> float:
        """``k``."""
        return math.pi / (math.sqrt(6) * self.scale)

    @property
    def _offset(self) -> float:
        """``ln Γ(1 + 1/k)``."""
        return math.lgamma(1 + 1 / self.concentration)

    def log_noise(self, shape: torch.Size, like: Tensor) -> Tensor:
        draws = torch.empty(shape, dtype=like.dtype, device=like.device).exponential_()
        return draws.log_().mul_(1 / self.concentration).sub_(self._offset)

    def log_density(self, x: Tensor) -> Tensor:
        log_exponential = (x + self._offset) * self.concentration
        return log_exponential - log_exponential.exp() + math.log(self.concentration)

    @property
    def expected_log(self) -> float:
        return -_EULER / self.concentration - self._offset

    @property
    def entropy_log(self) -> float:
        return _EULER + 1 - math.log(self.concentration)

    def log_noise_moment(self, power: float) -> float:
        return math.lgamma(1 + power / self.concentration) - power * self._offset

    def expected_log_density(self, shift: Tensor, other: RandomFamily) -> Tensor:
        k = self.concentration
        moved = k * (shift + self._offset)
        power = (moved + other.log_noise_moment(k)).exp()
        return moved + (math.log(k) + k * other.expected_log) - power

    def closest_shift(self, other: RandomFamily) -> float:
        return -self._offset - other.log_noise_moment(self.concentration) / self.concentration


_EULER = 0.5772156649015329

Family = Point | LogNormal | Gamma | Weibull
FAMILIES = {family.__name__: family for family in (Point, LogNormal, Gamma, Weibull)}
