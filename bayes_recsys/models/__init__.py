"""The models, and a fitted one as a folder. Importing this room is the only registry."""

from bayes_recsys.models.bamf import BAMF
from bayes_recsys.models.base import Model
from bayes_recsys.models.dacr import AML, ARL, DACR
from bayes_recsys.models.deepcf import CFNet, CFNetML, CFNetRL
from bayes_recsys.models.delf import DELF
from bayes_recsys.models.drnet import Affection, Association, DRNet
from bayes_recsys.models.fism import FISM
from bayes_recsys.models.folder import ModelFolderError, load_model, save_model
from bayes_recsys.models.nais import NAIS
from bayes_recsys.models.ncf import GMF, MLP, NeuMF
from bayes_recsys.models.options import Options
from bayes_recsys.models.similarity import ItemSimilarity

__all__ = [
    "AML",
    "ARL",
    "BAMF",
    "DACR",
    "DELF",
    "FISM",
    "GMF",
    "MLP",
    "NAIS",
    "Affection",
    "Association",
    "CFNet",
    "CFNetML",
    "CFNetRL",
    "DRNet",
    "ItemSimilarity",
    "Model",
    "ModelFolderError",
    "NeuMF",
    "Options",
    "load_model",
    "save_model",
]
