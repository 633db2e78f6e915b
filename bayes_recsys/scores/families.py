"""How an attention score is distributed.

A family is a positive noise of mean one: a score is ``s = exp(log_mean) · noise``. Prior and guide
choose theirs separately. All families are sized by the same number, ``scale``, the standard
deviation of ``ln s``, so that a family can be swapped and the width stays; and all of their
quantities are differentiable in it, so that it can be learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from bayes_recsys.scores.distribution import RandomFamily
from bayes_recsys.scores.present import Present
from bayes_recsys.scores.sums import powers, squares

EULER = 0.5772156649015329
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


def kept(function: Callable[[RandomFamily], Tensor]) -> cached_property:
    """A cached property that has its gradient even if it is first asked for where none is recorded."""
    return cached_property(torch.enable_grad()(function))


@dataclass(frozen=True)
class Point:
    """No distribution at all: the score *is* ``exp(energy)``, and there is no latent site.

    A side of attention with ``Point()`` is its own deterministic ablation, fitted by maximum
    likelihood.

    Example:
        >>> Point().log_moment(torch.tensor(0.5), power=2.0)
        tensor(1.)
    """

    def log_moment(self, log_mean: Tensor, power: float) -> Tensor:
        """``ln E[s^power] = power · log_mean``, shape of ``log_mean``."""
        return log_mean if power == 1 else power * log_mean


@dataclass(frozen=True)
class LogNormal(RandomFamily):
    """``x ~ Normal(-σ²/2, σ)`` with ``σ = scale``: the paper's choice, 0.1 in the guide and 1.0 in
    the prior.

    Args:
        scale: Standard deviation of ``ln s``, positive; in a guide also ``"learned"``, one for all entries, or
            ``"amortised"``, one for each.

    Example:
        >>> LogNormal(scale=0.1).distribution(torch.zeros(3)).mean
        tensor([1., 1., 1.])
        >>> LogNormal(scale=0.5).log_moment(torch.zeros(1), power=2.0)  # ln E[s²] = σ²
        tensor([0.2500])
    """

    # At the largest scale and mean, normal noise stays within exp's range.
    may_be_held: ClassVar[bool] = False

    def log_noise(self, shape: torch.Size, like: Tensor) -> Tensor:
        noise = torch.empty(shape, dtype=like.dtype, device=like.device)
        if isinstance(self.scale, float):
            return noise.normal_(-0.5 * self.scale**2, self.scale)
        sigma, noise = self.sigma.to(like), noise.normal_()
        return torch.addcmul(-0.5 * sigma.square(), noise, sigma)

    def log_density(self, x: Tensor) -> Tensor:
        standard = (x + 0.5 * self.sigma.square()) / self.sigma
        return -0.5 * standard.square() - (self.sigma.log() + LOG_ROOT_2PI)

    def log_density_of_rows(
        self, x: Tensor, present: Present, minus: Tensor | None = None
    ) -> Tensor:
        if self.sigma.ndim:
            return super().log_density_of_rows(x, present, minus)
        total, square = squares(x, minus, present)
        precision, each = self._constants
        return -0.5 * (square * precision + total) - present.count.to(x.dtype) * each

    @kept
    def _constants(self) -> tuple[Tensor | float, Tensor | float]:
        """``1/σ²`` and ``ln σ + ½ ln 2π + σ²/8``."""
        variance = self.sigma.square()
        of_rows = 1 / variance, self.sigma.log() + LOG_ROOT_2PI + variance / 8
        return of_rows if isinstance(self.scale, Tensor) else tuple(one.item() for one in of_rows)

    @property
    def expected_log(self) -> Tensor:
        return -0.5 * self.sigma.square()

    @property
    def entropy_log(self) -> Tensor:
        return self.sigma.log() + (0.5 + LOG_ROOT_2PI)

    def log_noise_moment(self, power: float | Tensor) -> Tensor:
        return 0.5 * power * (power - 1) * self.sigma.square()

    def expected_log_density(self, shift: Tensor, other: RandomFamily) -> Tensor:
        mean = shift + (other.expected_log + 0.5 * self.sigma.square())
        square = (mean.square() + other.sigma.square()) / self.sigma.square()
        return -0.5 * square - (self.sigma.log() + LOG_ROOT_2PI)

    def closest_shift(self, other: RandomFamily) -> Tensor:
        return -other.expected_log - 0.5 * self.sigma.square()


@dataclass(frozen=True)
class Gamma(RandomFamily):
    """``s ~ Gamma(shape a, rate a / E[s])`` with ``ψ'(a) = scale²``, ``ψ'`` the trigamma function.

    ======  ======  ======  ======  ======
    scale   0.1     0.5     1.0     2.0
    shape   100.5   4.473   1.426   0.562
    ======  ======  ======  ======  ======

    Args:
        scale: Standard deviation of ``ln s``, positive; in a guide also ``"learned"``, one for all entries, or
            ``"amortised"``, one for each.

    Example:
        >>> Gamma(scale=1.0).shape
        tensor(1.4263, dtype=torch.float64)
    """

    @kept
    def shape(self) -> Tensor:
        """``a``, differentiable in the scale."""
        return inverse_trigamma(self.sigma.square())

    @kept
    def _constant(self) -> Tensor:
        """``a ln a - a - ln Γ(a)``."""
        return self.shape * self.shape.log() - self.shape - self.shape.lgamma()

    def log_noise(self, shape: torch.Size, like: Tensor) -> Tensor:
        # Gamma(a) = Gamma(a + 1) · U^(1/a): on the log scale a small shape cannot underflow.
        a = self.shape.to(like)
        if (a >= 1).all():
            return torch._standard_gamma(a.expand(shape)).log() - a.log()
        minus_log_uniform = torch.empty(shape, dtype=like.dtype, device=like.device).exponential_()
        log_boosted = torch._standard_gamma((a + 1).expand(shape)).log()
        return log_boosted - minus_log_uniform / a - a.log()

    def log_density(self, x: Tensor) -> Tensor:
        return self._constant - self.shape * (x.expm1() - x)

    def log_density_of_rows(
        self, x: Tensor, present: Present, minus: Tensor | None = None
    ) -> Tensor:
        if self.sigma.ndim:
            return super().log_density_of_rows(x, present, minus)
        total, power = powers(x, minus, present, torch.ones((), dtype=x.dtype))
        count = present.count.to(x.dtype)
        return count * (self._constant + self.shape) - self.shape * (power - total)

    @property
    def expected_log(self) -> Tensor:
        return self.shape.digamma() - self.shape.log()

    @property
    def entropy_log(self) -> Tensor:
        return -self._constant - self.shape * self.expected_log

    def log_noise_moment(self, power: float | Tensor) -> Tensor:
        a = self.shape
        return (a + power).lgamma() - a.lgamma() - power * a.log()

    def expected_log_density(self, shift: Tensor, other: RandomFamily) -> Tensor:
        return self._constant - self.shape * (shift.expm1() - shift - other.expected_log)

    def closest_shift(self, other: RandomFamily) -> Tensor:
        return torch.zeros_like(other.sigma)


@dataclass(frozen=True)
class Weibull(RandomFamily):
    """``s ~ Weibull(concentration k, scale E[s] / Γ(1 + 1/k))`` with ``k = π / (√6 scale)``.

    ==============  ======  ======  ======  ======
    scale           0.1     0.5     1.0     2.0
    concentration   12.83   2.565   1.283   0.641
    ==============  ======  ======  ======  ======

    Args:
        scale: Standard deviation of ``ln s``, positive; in a guide also ``"learned"``, one for all entries, or
            ``"amortised"``, one for each.

    Example:
        >>> Weibull(scale=1.0).concentration
        tensor(1.2825, dtype=torch.float64)
    """

    @kept
    def concentration(self) -> Tensor:
        """``k``."""
        return math.pi / (math.sqrt(6) * self.sigma)

    @kept
    def _offset(self) -> Tensor:
        """``ln Γ(1 + 1/k)``."""
        return (1 + 1 / self.concentration).lgamma()

    def log_noise(self, shape: torch.Size, like: Tensor) -> Tensor:
        draws = torch.empty(shape, dtype=like.dtype, device=like.device).exponential_().log_()
        return torch.addcmul(-self._offset.to(like), draws, (1 / self.concentration).to(like))

    def log_density(self, x: Tensor) -> Tensor:
        log_exponential = (x + self._offset) * self.concentration
        return log_exponential - log_exponential.exp() + self.concentration.log()

    def log_density_of_rows(
        self, x: Tensor, present: Present, minus: Tensor | None = None
    ) -> Tensor:
        k = self.concentration
        if k.ndim:
            return super().log_density_of_rows(x, present, minus)
        total, power = powers(x, minus, present, k.to(x.dtype))
        moved = k * self._offset
        return k * total - moved.exp() * power + present.count.to(x.dtype) * (moved + k.log())

    @property
    def expected_log(self) -> Tensor:
        return -EULER / self.concentration - self._offset

    @property
    def entropy_log(self) -> Tensor:
        return EULER + 1 - self.concentration.log()

    def log_noise_moment(self, power: float | Tensor) -> Tensor:
        return (1 + power / self.concentration).lgamma() - power * self._offset

    def expected_log_density(self, shift: Tensor, other: RandomFamily) -> Tensor:
        k = self.concentration
        moved = k * (shift + self._offset)
        power = (moved + other.log_noise_moment(k)).exp()
        return moved + (k.log() + k * other.expected_log) - power

    def closest_shift(self, other: RandomFamily) -> Tensor:
        return -self._offset - other.log_noise_moment(self.concentration) / self.concentration


def inverse_trigamma(y: Tensor) -> Tensor:
    """``a`` with ``ψ'(a) = y``, for positive ``y``; differentiable.

    Newton's method on ``ln ψ'``, which is close to linear in ``ln a``. The last step alone carries
    the gradient: there it is exact by the implicit function theorem.

    Example:
        >>> inverse_trigamma(torch.tensor(torch.pi**2 / 6))
        tensor(1.)
    """
    with torch.no_grad():
        log_a = ((0.5 + (0.25 + y).sqrt()) / y).log()
        for _ in range(5):
            log_a = _newton(log_a, y)
    return _newton(log_a, y).exp()


def _newton(log_a: Tensor, y: Tensor) -> Tensor:
    a = log_a.exp()
    trigamma = torch.polygamma(1, a)
    slope = a * torch.polygamma(2, a) / trigamma
    return log_a - (trigamma.log() - y.log()) / slope


Family = Point | RandomFamily
