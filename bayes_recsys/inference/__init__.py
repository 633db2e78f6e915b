"""Fitting, drawing, saving."""

from bayes_recsys.inference.checkpoint import ModelFolderError, load_model, save_model
from bayes_recsys.inference.fit import Fit, check_sites, fit
from bayes_recsys.inference.predict import Draws, draw
from bayes_recsys.inference.schedules import CyclicWarmup, LinearWarmup

__all__ = [
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
]
