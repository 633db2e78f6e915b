"""Stacks of layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from bayes_recsys.memory import check_memory


def tower(
    width: int, layers: Sequence[int], *, norm: bool = False, dropout: float = 0.0
) -> nn.Sequential:
    """``MLP_ReLU``: per layer a linear map, layer norm (if asked for), ReLU, dropout (if any).

    Args:
        width: Length of the input.
        layers: Lengths of the outputs of each layer, at least one.
        norm: Whether each linear map is followed by a layer norm.
        dropout: Probability that an output is dropped in training, in [0, 1).

    Raises:
        ValueError: There is no layer, a length is below 1, or ``dropout`` is out of range.

    Example:
        >>> tower(8, [6, 4])(torch.zeros(2, 3, 8)).shape
        torch.Size([2, 3, 4])
    """
    if not layers or min(layers) < 1:
        raise ValueError(f"layers must be lengths of at least 1, not {layers!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), not {dropout}")
    size = 4.0 * sum(a * b for a, b in zip([width, *layers], layers, strict=False))
    check_memory(size, "a tower", "layers")
    parts: list[nn.Module] = []
    for before, after in zip([width, *layers], layers, strict=False):
        parts.append(nn.Linear(before, after))
        if norm:
            parts.append(nn.LayerNorm(after))
        parts.append(nn.ReLU())
        if dropout:
            parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)
