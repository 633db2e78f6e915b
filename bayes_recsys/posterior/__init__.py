"""What a fitted model says: draws, predictions, recommendations, summaries, ArviZ and pictures."""

from bayes_recsys.posterior.arviz import (
    import_arviz,
    posterior_tree,
    save_posterior,
    save_tree,
    to_arviz,
)
from bayes_recsys.posterior.draws import Draws, draw
from bayes_recsys.posterior.exact_scores import ExactScores
from bayes_recsys.posterior.importance import pareto_k
from bayes_recsys.posterior.plots import plot_attention, plot_loss
from bayes_recsys.posterior.predictive import DeepEnsemble, MCDropout, Posterior, Predictive
from bayes_recsys.posterior.recommendations import recommend
from bayes_recsys.posterior.summary import score_summary
from bayes_recsys.posterior.swag import SWAG

__all__ = [
    "SWAG",
    "DeepEnsemble",
    "Draws",
    "ExactScores",
    "MCDropout",
    "Posterior",
    "Predictive",
    "draw",
    "import_arviz",
    "pareto_k",
    "plot_attention",
    "plot_loss",
    "posterior_tree",
    "recommend",
    "save_posterior",
    "save_tree",
    "score_summary",
    "to_arviz",
]
