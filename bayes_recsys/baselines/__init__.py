"""Scorers to beat: each is fitted by its constructor and has ``score(user, item)``."""

from bayes_recsys.baselines.factors import BPRMF, IALS
from bayes_recsys.baselines.linear import EASE, SLIM, ItemKNN
from bayes_recsys.baselines.popularity import Popularity

__all__ = ["BPRMF", "EASE", "IALS", "SLIM", "ItemKNN", "Popularity"]
