"""Fitting: objective, training, state."""

from bayes_recsys.inference.checkpoint import Checkpoint, CheckpointError
from bayes_recsys.inference.checks import CollapseWarning, check_sites, guide_only
from bayes_recsys.inference.exact import DivergenceWarning, nuts
from bayes_recsys.inference.fitting import fit
from bayes_recsys.inference.hmc import hmc
from bayes_recsys.inference.kernel_choice import choose_kernel
from bayes_recsys.inference.loggers import CSVLog, TensorBoardLog
from bayes_recsys.inference.objective import Objective, Tempered
from bayes_recsys.inference.options import Monitor, Training
from bayes_recsys.inference.predictive_check import predictive
from bayes_recsys.inference.result import Fit
from bayes_recsys.inference.schedules import CyclicWarmup, LinearWarmup
from bayes_recsys.inference.snapshots import Snapshots
from bayes_recsys.inference.state import State

__all__ = [
    "CSVLog",
    "Checkpoint",
    "CheckpointError",
    "CollapseWarning",
    "CyclicWarmup",
    "DivergenceWarning",
    "Fit",
    "LinearWarmup",
    "Monitor",
    "Objective",
    "Snapshots",
    "State",
    "Tempered",
    "TensorBoardLog",
    "Training",
    "check_sites",
    "choose_kernel",
    "fit",
    "guide_only",
    "hmc",
    "nuts",
    "predictive",
]
