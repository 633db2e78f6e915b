"""The models. Importing this folder is the only registry."""

from bayes_recsys.models.bamf import BAMF
from bayes_recsys.models.base import Model

__all__ = ["BAMF", "Model"]
