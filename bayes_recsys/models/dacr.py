"""DACR: attention over features of the interaction matrix's rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch
from bayes_recsys.data.history import Histories
from bayes_recsys.models.parts import Parts
from bayes_recsys.nn.layers import tower
from bayes_recsys.nn.multihot import MultiHot

ARL_LAYERS, AML_LAYERS = (64, 32), (128, 64, 32)


class FeatureAttention(nn.Module):
    """``MLP_ReLU(x ⊕ α ⊙ x)`` with ``α = softmax(W x + b)`` over the *features* of ``x``.

    No history is attended over: ``α`` weighs features, not choices, so there is no score behind a
    choice that could be a latent site.

    Args:
        dim: Length ``D`` of ``x``.
        layers: Lengths of the MLP's outputs.
        dropout: Probability that an output is dropped in training.
    """

    def __init__(self, dim: int, layers: Sequence[int], dropout: float):
        super().__init__()
        self.attention = nn.Linear(dim, dim)
        self.tower = tower(2 * dim, layers, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``[.., D]`` to ``[.., layers[-1]]``."""
        return self.tower(torch.cat([x, self.attention(x).softmax(-1) * x], dim=-1))


class Representation(nn.Module):
    """``z = MLP(p ⊕ α_u ⊙ p) ⊙ MLP(q ⊕ α_i ⊙ q)`` of a row ``p`` and a column ``q``."""

    def __init__(self, matrix: MultiHot, layers: Sequence[int], dropout: float):
        super().__init__()
        self.matrix = matrix
        self.of_user = FeatureAttention(matrix.dim, layers, dropout)
        self.of_item = FeatureAttention(matrix.dim, layers, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, C, layers[-1]]``."""
        row, column = self.matrix(batch)
        return self.of_user(row) * self.of_item(column)


class Matching(nn.Module):
    """``z = MLP(x ⊕ α ⊙ x)`` with ``x = p ⊕ q``, a row and a column together."""

    def __init__(self, matrix: MultiHot, layers: Sequence[int], dropout: float):
        super().__init__()
        self.matrix = matrix
        self.of_both = FeatureAttention(2 * matrix.dim, layers, dropout)

    def forward(self, batch: Batch) -> Tensor:
        """``[G, C, layers[-1]]``."""
        return self.of_both(torch.cat(self.matrix(batch), dim=-1))


class ARL(Parts):
    """Attention representation learning: ``x_ui = w · (MLP(p ⊕ α_u ⊙ p) ⊙ MLP(q ⊕ α_i ⊙ q))`` with
    ``p = W Y_u*``, ``q = V Y_*i`` and ``α = softmax(linear)`` over features.

    Cui, Qin and Ren, "Deep Collaborative Recommendation Algorithm Based on Attention Mechanism"
    (2022). Point estimates.

    Args:
        histories: Histories (rows) and audiences (columns).
        dim: Length ``D`` of ``p`` and ``q``.
        layers: Lengths of the MLPs' outputs.
        dropout: Probability that an output is dropped in training.
        exclude_target: ``False`` leaves ``Y_ui`` in its row and column, the formula read literally:
            **a leak**.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = ARL(br.data.histories(split), dim=8)
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        histories: Histories,
        *,
        dim: int = 64,
        layers: Sequence[int] = ARL_LAYERS,
        dropout: float = 0.0,
        exclude_target: bool = True,
    ):
        super().__init__(histories)
        matrix = MultiHot(histories, dim, exclude_target=exclude_target)
        self.join([(Representation(matrix, layers, dropout), layers[-1])])

    @classmethod
    def as_published(
        cls, histories: Histories, *, dim: int = 64, layers: Sequence[int] = ARL_LAYERS
    ) -> ARL:
        """The formulas as written: ``Y_u*`` and ``Y_*i`` whole, the target itself among them. In training that is
        **a leak**: a positive is part of its own input, and a held-out item is not."""
        return cls(histories, dim=dim, layers=layers, exclude_target=False)


class AML(Parts):
    """Attention matching function learning: ``x_ui = w · MLP(x ⊕ α ⊙ x)`` with ``x = p ⊕ q``.

    Cui, Qin and Ren (2022). Point estimates. Arguments as :class:`ARL`.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        dim: int = 64,
        layers: Sequence[int] = AML_LAYERS,
        dropout: float = 0.0,
        exclude_target: bool = True,
    ):
        super().__init__(histories)
        matrix = MultiHot(histories, dim, exclude_target=exclude_target)
        self.join([(Matching(matrix, layers, dropout), layers[-1])])

    @classmethod
    def as_published(
        cls, histories: Histories, *, dim: int = 64, layers: Sequence[int] = AML_LAYERS
    ) -> AML:
        """The formulas as written: ``Y_u*`` and ``Y_*i`` whole, the target itself among them. In training that is
        **a leak**: a positive is part of its own input, and a held-out item is not."""
        return cls(histories, dim=dim, layers=layers, exclude_target=False)


class DACR(Parts):
    """ARL and AML, each with maps of its own, under one layer: ``x_ui = w · [z_ARL ⊕ z_AML]``.

    Cui, Qin and Ren, "Deep Collaborative Recommendation Algorithm Based on Attention Mechanism"
    (2022). Point estimates.

    Args:
        histories: Histories (rows) and audiences (columns).
        dim: Length ``D`` of the sums.
        arl_layers: Lengths of the outputs of ARL's MLPs.
        aml_layers: Lengths of the outputs of AML's MLP.
        dropout: Probability that an output is dropped in training.
        exclude_target: ``False`` is **a leak**, see :class:`ARL`.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        dim: int = 64,
        arl_layers: Sequence[int] = ARL_LAYERS,
        aml_layers: Sequence[int] = AML_LAYERS,
        dropout: float = 0.0,
        exclude_target: bool = True,
    ):
        super().__init__(histories)

        def matrix() -> MultiHot:
            return MultiHot(histories, dim, exclude_target=exclude_target)

        self.join(
            [
                (Representation(matrix(), arl_layers, dropout), arl_layers[-1]),
                (Matching(matrix(), aml_layers, dropout), aml_layers[-1]),
            ]
        )

    @classmethod
    def as_published(
        cls,
        histories: Histories,
        *,
        dim: int = 64,
        arl_layers: Sequence[int] = ARL_LAYERS,
        aml_layers: Sequence[int] = AML_LAYERS,
    ) -> DACR:
        """The formulas as written: ``Y_u*`` and ``Y_*i`` whole, the target itself among them. In training that is
        **a leak**: a positive is part of its own input, and a held-out item is not."""
        sizes = {"dim": dim, "arl_layers": arl_layers, "aml_layers": aml_layers}
        return cls(histories, **sizes, exclude_target=False)
