"""Ranking protocols, metrics, intervals, comparison, probabilities and selective recommendation."""

from bayes_recsys.evaluation.calibration import (
    balanced,
    calibration_error,
    calibration_floor,
    corrected,
    recalibrated,
    reliability,
)
from bayes_recsys.evaluation.comparison import compare
from bayes_recsys.evaluation.levels import UserLevels
from bayes_recsys.evaluation.probability import (
    brier,
    evaluate_pairs,
    nll,
    predicted_pairs,
    predictive_nll,
)
from bayes_recsys.evaluation.ranking import KS, Scorer, evaluate
from bayes_recsys.evaluation.result import Evaluation
from bayes_recsys.evaluation.selective import aurc, list_uncertainty, risk_coverage

__all__ = [
    "KS",
    "Evaluation",
    "Scorer",
    "UserLevels",
    "aurc",
    "balanced",
    "brier",
    "calibration_error",
    "calibration_floor",
    "compare",
    "corrected",
    "evaluate",
    "evaluate_pairs",
    "list_uncertainty",
    "nll",
    "predicted_pairs",
    "predictive_nll",
    "recalibrated",
    "reliability",
    "risk_coverage",
]
