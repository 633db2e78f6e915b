"""Fitting, drawing, saving."""

from bayes_recsys.inference.checkpoint import ModelFolderError, load_model, save_model
from bayes_recsys.inference.checks import CollapseWarning, check_sites
from bayes_recsys.inference.fit import Fit, fit
from bayes_recsys.inference.predict import Draws, draw
from bayes_recsys.inference.schedules import CyclicWarmup, LinearWarmup
from bayes_recsys.inference.scores import score_summary

__all__ = [
    "CollapseWarning",
    "CyclicWarmup",
    "Draws",
    "Fit",
    "LinearWarmup",
    "ModelFolderError",
    "check_sites",
    "draw",
    "fit",
    "load_model",
    "save_model",
    "score_summary",
]
