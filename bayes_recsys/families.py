"""How an attention score is distributed.

A family turns the logarithm of a mean into a distribution over positive scores with that mean.
Prior and guide choose theirs separately.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all


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
class LogNormal:
    """``ln s ~ Normal(log_mean - σ²/2, σ)``, so that ``E[s] = exp(log_mean)``.

    Args:
        scale: σ, the standard deviation of ``ln s``; positive. The seed's choice is 0.1 for the
            guide and 1.0 for the prior.

    Raises:
        ValueError: ``scale`` is not a positive finite number.

    Example:
        >>> score = LogNormal(scale=0.1).distribution(torch.zeros(3))
        >>> score.mean
        tensor([1., 1., 1.])
        >>> LogNormal(scale=0.5).log_moment(torch.tensor(0.0), power=2.0)  # ln E[s²] = σ²
        tensor(0.2500)
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"LogNormal: scale must be positive and finite, not {self.scale}")

    def distribution(self, log_mean: Tensor) -> LogNormalScore:
        """The distribution of scores with mean ``exp(log_mean)``; batch shape of ``log_mean``."""
        return LogNormalScore(log_mean - 0.5 * self.scale**2, self.scale)

    def log_moment(self, log_mean: Tensor, power: float) -> Tensor:
        """``ln E[s^p] = p · log_mean + p (p - 1) σ² / 2``, shape of ``log_mean``."""
        return power * log_mean + 0.5 * power * (power - 1) * self.scale**2


Family = Point | LogNormal


class LogNormalScore(TorchDistribution):
    """``exp`` of a normal variable, as ``torch.distributions.LogNormal``, in half the memory passes.

    Attention tensors are large and their cost is memory traffic: keeping ``scale`` a number, where
    torch expands it to the shape of ``loc``, makes density and gradient about three times faster.

    Args:
        loc: Mean of ``ln s``, any shape.
        scale: Standard deviation of ``ln s``: a number, or a tensor that broadcasts with ``loc``.
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor | float, *, validate_args: bool | None = None):
        self.loc = loc
        self.scale = torch.as_tensor(scale, dtype=loc.dtype, device=loc.device)
        shape = torch.broadcast_shapes(self.loc.shape, self.scale.shape)
        super().__init__(shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None) -> LogNormalScore:
        new = self._get_checked_instance(LogNormalScore, _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale
        super(LogNormalScore, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape=torch.Size()) -> Tensor:
        noise = torch.randn(
            self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device
        )
        return torch.addcmul(self.loc, noise, self.scale).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """``ln p(s) = -½ ((ln s - loc) / scale)² - ln s - ln scale - ½ ln 2π``."""
        if self._validate_args:
            self._validate_sample(value)
        log_value = value.log()
        standard = (log_value - self.loc) * self.scale.reciprocal()
        constant = self.scale.log() + 0.5 * math.log(2 * math.pi)
        return -constant - torch.addcmul(log_value, standard, standard, value=0.5)

    @property
    def mean(self) -> Tensor:
        return (self.loc + 0.5 * self.scale**2).exp()

    @property
    def variance(self) -> Tensor:
        return torch.expm1(self.scale**2) * (2 * self.loc + self.scale**2).exp()

    def entropy(self) -> Tensor:
        loc, scale = broadcast_all(self.loc, self.scale)
        return loc + scale.log() + 0.5 * (1 + math.log(2 * math.pi))
