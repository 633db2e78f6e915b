"""What the scripts in ``examples/`` and ``benchmarks/`` do: train and look, compare, tune."""

from bayes_recsys.experiments.settings import (
    BASELINES,
    PUBLISHED,
    SETTINGS,
    TUNED,
    Baseline,
    Setting,
)

__all__ = ["BASELINES", "PUBLISHED", "SETTINGS", "TUNED", "Baseline", "Setting"]
