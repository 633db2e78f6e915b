"""Ranking protocols, metrics, intervals, and scorers to beat."""

from bayes_recsys.evaluation.compare import compare
from bayes_recsys.evaluation.evaluate import KS, Evaluation, Scorer, evaluate
from bayes_recsys.evaluation.nll import predictive_nll

__all__ = ["KS", "Evaluation", "Scorer", "compare", "evaluate", "predictive_nll"]
