"""Weights of the scores' terms that change during training.

A schedule maps time, in epochs since the start and with fractions, to a weight. Training that
starts with little weight lets the guide learn from data before the prior pulls at it.
"""

from __future__ import annotations

from dataclasses import dataclass

from bayes_recsys.arguments import check_number

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
        ValueError, TypeError: An argument is no positive number.

    Example:
        >>> warmup = LinearWarmup(weight=1.0, epochs=10)
        >>> [warmup(t) for t in (0.0, 2.5, 10.0, 40.0)]
        [1e-06, 0.25, 1.0, 1.0]
    """

    weight: float
    epochs: float

    def __post_init__(self) -> None:
        check_number("weight", self.weight, above=0)
        check_number("epochs", self.epochs, above=0)

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
        ValueError, TypeError: An argument is no positive number.

    Example:
        >>> cycle = CyclicWarmup(weight=1.0, period=4)
        >>> [cycle(t) for t in (0.0, 1.0, 2.0, 3.9, 4.0, 5.0)]
        [1e-06, 0.5, 1.0, 1.0, 1e-06, 0.5]
    """

    weight: float
    period: float

    def __post_init__(self) -> None:
        check_number("weight", self.weight, above=0)
        check_number("period", self.period, above=0)

    def __call__(self, time: float) -> float:
        """The weight at ``time`` epochs."""
        share = (time % self.period) / self.period
        return max(SMALLEST_WEIGHT, self.weight * min(1.0, 2 * share))
