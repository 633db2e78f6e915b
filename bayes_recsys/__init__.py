"""Attention-based recommenders whose attention is uncertain, as Pyro model/guide pairs."""

from bayes_recsys import baselines, data, diagnostics, evaluation, inference, models, nn
from bayes_recsys.diagnostics import posterior_tree, save_tree, to_arviz
from bayes_recsys.evaluation import compare, evaluate, predictive_nll
from bayes_recsys.families import Gamma, LogNormal, Point, Weibull
from bayes_recsys.inference import (
    CyclicWarmup,
    LinearWarmup,
    draw,
    fit,
    load_model,
    save_model,
    score_summary,
)
from bayes_recsys.likelihoods import Bernoulli, BradleyTerry
from bayes_recsys.predictive import DeepEnsemble, MCDropout, Posterior
from bayes_recsys.recommend import recommend
from bayes_recsys.scores import Scores

__version__ = "0.1.0"

__all__ = [
    "Bernoulli",
    "BradleyTerry",
    "CyclicWarmup",
    "DeepEnsemble",
    "Gamma",
    "LinearWarmup",
    "LogNormal",
    "MCDropout",
    "Point",
    "Posterior",
    "Scores",
    "Weibull",
    "baselines",
    "compare",
    "data",
    "diagnostics",
    "draw",
    "evaluate",
    "evaluation",
    "fit",
    "inference",
    "load_model",
    "models",
    "nn",
    "posterior_tree",
    "predictive_nll",
    "recommend",
    "save_model",
    "save_tree",
    "score_summary",
    "to_arviz",
]
