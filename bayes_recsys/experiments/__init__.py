"""What the scripts in ``examples/`` and ``benchmarks/`` do: train and look, compare, tune."""

from bayes_recsys.experiments.published import PUBLIC_CODE, PUBLISHED, SETTINGS
from bayes_recsys.experiments.settings import BASELINES, TUNED, Baseline, Setting

__all__ = ["BASELINES", "PUBLIC_CODE", "PUBLISHED", "SETTINGS", "TUNED", "Baseline", "Setting"]
