"""How an attention score is distributed: families, their distribution, and what one attention's scores are."""

from bayes_recsys.scores.distribution import LEARNED_SCALES, RandomFamily, Score
from bayes_recsys.scores.families import Family, Gamma, LogNormal, Point, Weibull
from bayes_recsys.scores.spec import PRIOR_MEANS, SCOPES, Scores

__all__ = [
    "LEARNED_SCALES",
    "PRIOR_MEANS",
    "SCOPES",
    "Family",
    "Gamma",
    "LogNormal",
    "Point",
    "RandomFamily",
    "Score",
    "Scores",
    "Weibull",
]
