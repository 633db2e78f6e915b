"""Tables of vectors."""

from __future__ import annotations

import torch
from torch import nn

from bayes_recsys.memory import check_memory


def embedding(rows: int, dim: int, *, scale: float = 0.1) -> nn.Embedding:
    """A table ``[rows, dim]`` that starts at ``Normal(0, scale)``.

    Scores grow as ``exp`` of a product of two vectors: torch's start of scale 1 would make most of
    the weight fall on one entry before anything is learned.

    Raises:
        ValueError: ``dim`` is below 1.
        MemoryError: The table does not fit.

    Example:
        >>> embedding(1000, 8).weight.std()
        tensor(0.10..., grad_fn=<StdBackward0>)
    """
    if dim < 1:
        raise ValueError(f"vectors (embedding_dim) must have a length of at least 1, not {dim}")
    check_memory(4.0 * rows * dim, f"a table of {rows:,} vectors", "embedding_dim")
    return nn.Embedding.from_pretrained(scale * torch.randn(rows, dim), freeze=False)
