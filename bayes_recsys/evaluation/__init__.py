"""Ranking protocols, metrics, intervals, and scorers to beat."""

from bayes_recsys.evaluation.baselines import Popularity
from bayes_recsys.evaluation.evaluate import KS, Evaluation, Scorer, evaluate

__all__ = ["KS", "Evaluation", "Popularity", "Scorer", "evaluate"]
