"""Attention scores as random variables, and the exact divergence between any two."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from numbers import Real
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl
from torch.utils.weak import WeakTensorKeyDictionary

from bayes_recsys.scores.present import Present

SMALLEST_SCALE, LARGEST_SCALE = 1e-3, 5.0
LEARNED_SCALES = ("learned", "amortised")
# Draws of ln s are held within this, where exp and its gradient are finite in single precision.
LARGEST_LOG = 80.0
# ln E[s] has to be within this, so that only the far tails of the noise are ever held: a density at a
# value that was held would push the mean further out.
LARGEST_LOG_MEAN = 40.0


@dataclass(frozen=True)
class RandomFamily(ABC):
    """What every random family knows of ``x = ln(s / E[s])``, its noise on the log scale.

    Args:
        scale: Standard deviation of ``ln s``: a number from 0.001 to 5, or ``"learned"`` (one
            number, fitted) or ``"amortised"`` (fitted, from query and key). A learned scale lives
            in the :class:`~bayes_recsys.nn.attention.Attention` that uses the family; there
            :meth:`with_scale` puts in its value, and only then has the family a distribution.

    Raises:
        ValueError: ``scale`` is out of range, or no such word.
    """

    may_be_held: ClassVar[bool] = True  # whether ln s could leave the range of exp
    scale: float | str | Tensor = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.scale, str) and self.scale in LEARNED_SCALES:
            return
        given = isinstance(self.scale, Real)
        if given:
            object.__setattr__(self, "scale", float(self.scale))
        if not given or not SMALLEST_SCALE <= self.scale <= LARGEST_SCALE:
            raise ValueError(
                f"{type(self).__name__}: scale, the standard deviation of ln s, must be between "
                f"{SMALLEST_SCALE} and {LARGEST_SCALE:g}, or 'learned' or 'amortised', not "
                f"{self.scale!r}"
            )

    def with_scale(self, scale: Tensor) -> RandomFamily:
        """The same family with this standard deviation of ``ln s``; its shape broadcasts to that
        of ``log_mean``."""
        valued = object.__new__(type(self))
        for field in fields(self):  # a family may have more than a scale
            object.__setattr__(valued, field.name, getattr(self, field.name))
        object.__setattr__(valued, "scale", scale)
        return valued

    @cached_property
    def sigma(self) -> Tensor:
        """The scale as a tensor, in double precision and without dimensions if it is a number."""
        if isinstance(self.scale, str):
            raise ValueError(f"{self}: its scale has no value outside an Attention that learns it")
        if isinstance(self.scale, Tensor):
            return self.scale
        return torch.tensor(self.scale, dtype=torch.float64)

    def distribution(self, log_mean: Tensor) -> Score:
        """The distribution of scores with mean ``exp(log_mean)``; batch shape of ``log_mean``."""
        return Score(log_mean, self)

    def log_moment(self, log_mean: Tensor, power: float) -> Tensor:
        """``ln E[s^power]`` for any ``power`` of at least 0, shape of ``log_mean``."""
        if power == 1:
            return log_mean
        return power * log_mean + self.log_noise_moment(power)

    def divergence_floor(self, other: RandomFamily) -> Tensor:
        """The least divergence, over all means, of the ``other`` family from this one; shape of the
        scales."""
        return -other.entropy_log - self.expected_log_density(self.closest_shift(other), other)

    @abstractmethod
    def log_noise(self, shape: torch.Size, like: Tensor) -> Tensor:
        """Reparameterised draws of ``x``, of the given shape, with dtype and device of ``like``."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """``ln p(x)``, shape of ``x``."""

    def log_density_of_rows(
        self, x: Tensor, present: Present, minus: Tensor | None = None
    ) -> Tensor:
        """``Σ ln p(x)`` over the entries that each row has, ``[.., G, C]`` from ``x [.., G, C, L]``; or of
        ``x - minus``."""
        x = x if minus is None else x - minus
        return self.log_density(x).where(present.mask, 0.0).sum(-1)

    @property
    @abstractmethod
    def expected_log(self) -> Tensor:
        """``E[x]``, never positive (Jensen); shape of the scale, as all that follow."""

    @property
    @abstractmethod
    def entropy_log(self) -> Tensor:
        """Differential entropy of ``x``, in nats."""

    @abstractmethod
    def log_noise_moment(self, power: float | Tensor) -> Tensor:
        """``ln E[exp(power · x)]``, 0 at 0 and 1."""

    @abstractmethod
    def expected_log_density(self, shift: Tensor, other: RandomFamily) -> Tensor:
        """``E[ln p(shift + x)]`` with ``x`` drawn from the ``other`` family, shape of ``shift``."""

    @abstractmethod
    def closest_shift(self, other: RandomFamily) -> Tensor:
        """The shift at which :meth:`expected_log_density` is largest."""


@dataclass(frozen=True)
class _Draw:
    """What is known of a drawn score: its logarithm, its noise unless it was held, around which mean."""

    log: Tensor
    noise: Tensor | None
    log_mean: Tensor
    # Of score and logarithm: what was changed in place is not what was drawn.
    versions: tuple[int, int]


# Kept as long as the drawn tensor itself: logarithms are what a score is used by, and the noise, given the
# mean it was drawn around, has a gradient of its own that ln s - log_mean would only find by cancellation.
_DRAWS = WeakTensorKeyDictionary()
_EXPS = WeakTensorKeyDictionary()


def _draw_of(value: Tensor) -> _Draw | None:
    draw = _DRAWS.get(value)
    if draw is None or draw.versions != (value._version, draw.log._version):
        return None
    return draw


def was_drawn(value: Tensor) -> bool:
    """Whether this very tensor was drawn from a :class:`Score`, and is as it was."""
    return _draw_of(value) is not None


def log_of(value: Tensor) -> Tensor:
    """``ln s`` of scores; of drawn ones it is known, and this very tensor has it."""
    draw = _draw_of(value)
    return value.log() if draw is None else draw.log


def exp_of(log_score: Tensor) -> Tensor | None:
    """``s``, without its gradient, if it was drawn by way of this very ``ln s``."""
    drawn, versions = _EXPS.get(log_score, (None, None))
    value = None if drawn is None else drawn()
    if value is None or versions != (value._version, log_score._version):
        return None
    return value.detach()


class Score(TorchDistribution):
    """A positive score ``s = exp(log_mean + x)``, its noise ``x`` from a family.

    Draws are reparameterised in ``log_mean`` and in the family's scale.

    Args:
        log_mean: ``ln E[s]``, between -40 and 40, any shape; the batch shape.
        family: The family of the noise.

    Raises:
        ValueError: With validation on, ``log_mean`` is out of range.
    """

    arg_constraints: ClassVar = {
        "log_mean": constraints.interval(-LARGEST_LOG_MEAN, LARGEST_LOG_MEAN)
    }
    support = constraints.positive
    has_rsample = True

    def __init__(
        self, log_mean: Tensor, family: RandomFamily, *, validate_args: bool | None = None
    ):
        self.log_mean, self.family = log_mean, family
        super().__init__(log_mean.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None) -> Score:
        """The same of another batch shape, as PyTorch's distributions."""
        new = self._get_checked_instance(Score, _instance)
        new.log_mean, new.family = self.log_mean.expand(batch_shape), self.family
        super(Score, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def of_block(self, g: int, length: int) -> Score:
        """The scores of block ``g`` alone, the first so many of each row: batch shape ``[1, C, length]``."""
        family = self.family
        if isinstance(family.scale, Tensor) and family.scale.ndim:
            scale = family.scale.expand(self.log_mean.shape)[g : g + 1, :, :length]
            family = family.with_scale(scale)
        return family.distribution(self.log_mean[g : g + 1, :, :length])

    def rsample(self, sample_shape=torch.Size()) -> Tensor:
        noise = self.family.log_noise(self._extended_shape(sample_shape), like=self.log_mean)
        log_value = self.log_mean + noise
        if self.family.may_be_held:
            log_value, noise = log_value.clamp(-LARGEST_LOG, LARGEST_LOG), None
        value = log_value.exp()
        if value.is_inference():  # has no version to tell whether it was changed
            return value
        versions = value._version, log_value._version
        _DRAWS[value] = _Draw(log_value, noise, self.log_mean, versions)
        _EXPS[log_value] = weakref.ref(value), versions
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        """``ln p(s) = ln p_x(ln s - log_mean) - ln s``, shape of ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        return self.family.log_density(self.noise_of(value)) - log_of(value)

    def noise_of(self, value: Tensor) -> Tensor:
        """``x = ln s - log_mean``, shape of ``value``."""
        x, minus = self.noise_and_minus(value)
        return x if minus is None else x - minus

    def noise_and_minus(self, value: Tensor) -> tuple[Tensor, Tensor | None]:
        """``x`` as it was drawn; or else ``ln s`` and what is to be taken from it."""
        draw = _draw_of(value)
        if draw is not None and draw.noise is not None and draw.log_mean is self.log_mean:
            return draw.noise, None
        return log_of(value), self.log_mean

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        return torch.expm1(self.family.log_noise_moment(2.0)) * (2 * self.log_mean).exp()

    @property
    def expected_log(self) -> Tensor:
        """``E[ln s]``, batch shape."""
        return self.log_mean + self.family.expected_log

    @property
    def variance_log(self) -> Tensor:
        """``Var[ln s]``, batch shape."""
        return self.family.sigma.square().to(self.log_mean).expand(self.batch_shape)

    def entropy(self) -> Tensor:
        """``H(s) = H(ln s) + E[ln s]``, batch shape."""
        return self.expected_log + self.family.entropy_log


@register_kl(Score, Score)
def _kl(q: Score, p: Score) -> Tensor:
    """``KL(q‖p) = -H(x_q) - E[ln p_x(log_mean_q - log_mean_p + x_q)]`` for any two families.

    A divergence is the same for ``s`` and ``ln s``, so only the difference of the means matters.
    """
    shift = q.log_mean - p.log_mean
    return -q.family.entropy_log - p.family.expected_log_density(shift, q.family)
