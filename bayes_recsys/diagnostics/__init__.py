"""From a fitted model to ArviZ and pictures."""

from bayes_recsys.diagnostics.arviz import import_arviz, posterior_tree, save_tree, to_arviz
from bayes_recsys.diagnostics.plots import plot_attention, plot_loss

__all__ = [
    "import_arviz",
    "plot_attention",
    "plot_loss",
    "posterior_tree",
    "save_tree",
    "to_arviz",
]
