"""Weights averaged over the steps of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """An exponential average of a model's trained weights over the steps, ``θ̄ ← d θ̄ + (1 - d) θ``.

    In the first steps ``d`` is less, ``(1 + t) / (10 + t)``, so that the initial weights are soon forgotten.
    (Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; Izmailov et al., "Averaging
    Weights Leads to Wider Optima and Better Generalization", 2018.)

    Args:
        model: Whose weights.
        decay: ``d``, in ``[0, 1)``: ``1 / (1 - d)`` steps count.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.decay, self.steps = decay, 0
        self.weights = [p.detach().clone() for p in self.trained]

    @torch.no_grad()
    def step(self) -> None:
        """Take the model's weights in."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        get_ema_multi_avg_fn(decay)(self.weights, self.trained, self.steps)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights."""
        own = [p.data for p in self.trained]
        try:
            for parameter, averaged in zip(self.trained, self.weights, strict=True):
                parameter.data = averaged
            yield
        finally:
            for parameter, before in zip(self.trained, own, strict=True):
                parameter.data = before

    @torch.no_grad()
    def keep(self) -> None:
        """Give the model the averaged weights for good."""
        for own, averaged in zip(self.trained, self.weights, strict=True):
            own.copy_(averaged)

    def state_dict(self) -> dict[str, Any]:
        """A copy, for :meth:`load_state_dict`."""
        return {"steps": self.steps, "weights": [one.clone() for one in self.weights]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.steps = state["steps"]
        for own, kept in zip(self.weights, state["weights"], strict=True):
            own.copy_(kept)
