"""Energies, the simplex, attention, and how vectors combine."""

from bayes_recsys.nn.attention import Attended, Attention
from bayes_recsys.nn.combine import COMBINES, Combine
from bayes_recsys.nn.energies import ENERGIES, Concat, Dot, Prod, energy
from bayes_recsys.nn.entries import AudienceEntries, HistoryEntries
from bayes_recsys.nn.scale import Scale
from bayes_recsys.nn.tables import embedding
from bayes_recsys.nn.weights import simplex

__all__ = [
    "COMBINES",
    "ENERGIES",
    "Attended",
    "Attention",
    "AudienceEntries",
    "Combine",
    "Concat",
    "Dot",
    "HistoryEntries",
    "Prod",
    "Scale",
    "embedding",
    "energy",
    "simplex",
]
