"""Training mode, evaluation mode, and no training at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout, and afterwards as before."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradient goes to the parameters, and afterwards as before."""
    required = {parameter: parameter.requires_grad for parameter in module.parameters()}
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, was in required.items():
            parameter.requires_grad_(was)
