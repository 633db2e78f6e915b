"""Weights of the scores' terms that change during training.

A schedule maps time, in epochs since the start and with fractions, to a weight. Training that
starts with little weight lets the guide learn from data before the prior pulls at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Pyro's scales must be positive.
SMALLEST_WEIGHT = 1e-6


@dataclass(frozen=True)
class LinearWarmup:
    """Rises from 0 to ``weight`` over ``epochs``, then stays (Bowman et al., "Generating Sentences
    from a Continuous Space", 2016).

    Args:
        weight: Final weight, positive.
        epochs: Length of the rise, positive.

    Raises:
        ValueError: An argument is not positive.

    Example:
        >>> warmup = LinearWarmup(weight=1.0, epochs=10)
        >>> [warmup(t) for t in (0.0, 2.5, 10.0, 40.0)]
        [1e-06, 0.25, 1.0, 1.0]
    """

    weight: float
    epochs: float

    def __post_init__(self) -> None:
        _check_positive(weight=self.weight, epochs=self.epochs)

    def __call__(self, time: float) -> float:
        """The weight at ``time`` epochs."""
        return max(SMALLEST_WEIGHT, self.weight * min(1.0, time / self.epochs))


@dataclass(frozen=True)
class CyclicWarmup:
    """Every ``period`` epochs rises anew from 0 to ``weight`` over the first half, then stays (Fu et
    al., "Cyclical Annealing Schedule", 2019).

    Args:
        weight: Highest weight, positive.
        period: Epochs of a cycle, positive.

    Raises:
        ValueError: An argument is not positive.

    Example:
        >>> cycle = CyclicWarmup(weight=1.0, period=4)
        >>> [cycle(t) for t in (0.0, 1.0, 2.0, 3.9, 4.0, 5.0)]
        [1e-06, 0.5, 1.0, 1.0, 1e-06, 0.5]
    """

    weight: float
    period: float

    def __post_init__(self) -> None:
        _check_positive(weight=self.weight, period=self.period)

    def __call__(self, time: float) -> float:
        """The weight at ``time`` epochs."""
        share = (time % self.period) / self.period
        return max(SMALLEST_WEIGHT, self.weight * min(1.0, 2 * share))


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, not {value}")
