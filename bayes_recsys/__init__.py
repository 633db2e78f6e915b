"""Attention-based recommenders whose attention is uncertain, as Pyro model/guide pairs."""

from bayes_recsys import baselines, data, evaluation, inference, models, nn, posterior, scores
from bayes_recsys.evaluation import compare, evaluate, predictive_nll
from bayes_recsys.evaluation.levels import UserLevels
from bayes_recsys.inference import (
    Checkpoint,
    CyclicWarmup,
    LinearWarmup,
    Monitor,
    Objective,
    Training,
    fit,
)
from bayes_recsys.likelihoods import Bernoulli, BradleyTerry, Likelihood, NoProbability, Softmax
from bayes_recsys.models import load_model, save_model
from bayes_recsys.posterior import (
    SWAG,
    DeepEnsemble,
    MCDropout,
    Posterior,
    draw,
    posterior_tree,
    recommend,
    save_posterior,
    save_tree,
    score_summary,
    to_arviz,
)
from bayes_recsys.scores import Gamma, LogNormal, Point, RandomFamily, Scores, Weibull

__version__ = "0.1.0"

__all__ = [
    "SWAG",
    "Bernoulli",
    "BradleyTerry",
    "Checkpoint",
    "CyclicWarmup",
    "DeepEnsemble",
    "Gamma",
    "Likelihood",
    "LinearWarmup",
    "LogNormal",
    "MCDropout",
    "Monitor",
    "NoProbability",
    "Objective",
    "Point",
    "Posterior",
    "RandomFamily",
    "Scores",
    "Softmax",
    "Training",
    "UserLevels",
    "Weibull",
    "baselines",
    "compare",
    "data",
    "draw",
    "evaluate",
    "evaluation",
    "fit",
    "inference",
    "load_model",
    "models",
    "nn",
    "posterior",
    "posterior_tree",
    "predictive_nll",
    "recommend",
    "save_model",
    "save_posterior",
    "save_tree",
    "score_summary",
    "scores",
    "to_arviz",
]
