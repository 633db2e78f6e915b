"""Ratings files to interactions, splits, histories and batches."""

from bayes_recsys.data.batches import Batch, TrainingBatches, candidates
from bayes_recsys.data.download import data_home
from bayes_recsys.data.files import read_ratings
from bayes_recsys.data.frames import from_frame
from bayes_recsys.data.history import Histories, histories
from bayes_recsys.data.interactions import DataError, DataWarning, Interactions
from bayes_recsys.data.lastfm import load_lastfm
from bayes_recsys.data.movielens import load_movielens
from bayes_recsys.data.negatives import NegativeSampler, negative_sampler
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.data.saved_split import load_split, save_split
from bayes_recsys.data.simulation import Synthetic, synthetic
from bayes_recsys.data.sources import DATASETS, load
from bayes_recsys.data.splits import Split, leave_one_out, split, timeline

__all__ = [
    "DATASETS",
    "Batch",
    "DataError",
    "DataWarning",
    "Histories",
    "Interactions",
    "NegativeSampler",
    "Ragged",
    "Split",
    "Synthetic",
    "TrainingBatches",
    "candidates",
    "data_home",
    "from_frame",
    "histories",
    "leave_one_out",
    "load",
    "load_lastfm",
    "load_movielens",
    "load_split",
    "negative_sampler",
    "read_ratings",
    "save_split",
    "split",
    "synthetic",
    "timeline",
]
