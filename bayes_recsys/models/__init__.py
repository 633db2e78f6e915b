"""The models. Importing this folder is the only registry."""

from bayes_recsys.models.bamf import BAMF
from bayes_recsys.models.base import Model
from bayes_recsys.models.dacr import AML, ARL, DACR
from bayes_recsys.models.deepcf import CFNet, CFNetML, CFNetRL
from bayes_recsys.models.fism import FISM
from bayes_recsys.models.nais import NAIS
from bayes_recsys.models.ncf import GMF, MLP, NeuMF

__all__ = [
    "AML",
    "ARL",
    "BAMF",
    "DACR",
    "FISM",
    "GMF",
    "MLP",
    "NAIS",
    "CFNet",
    "CFNetML",
    "CFNetRL",
    "Model",
    "NeuMF",
]
