"""Ranking protocols, metrics, intervals, and scorers to beat."""

from bayes_recsys.evaluation.baselines import SLIM, Popularity
from bayes_recsys.evaluation.evaluate import KS, Evaluation, Scorer, evaluate
from bayes_recsys.evaluation.nll import predictive_nll

__all__ = ["KS", "SLIM", "Evaluation", "Popularity", "Scorer", "evaluate", "predictive_nll"]
