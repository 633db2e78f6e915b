"""Neural collaborative filtering: GMF, MLP and NeuMF."""

from __future__ import annotations

from collections.abc import Sequence

from bayes_recsys.data.history import Histories
from bayes_recsys.models.parts import Concatenation, Parts, Product
from bayes_recsys.nn.layers import tower
from bayes_recsys.nn.tables import embedding

LAYERS = (64, 32, 16)


class GMF(Parts):
    """Generalised matrix factorisation: ``x_ui = w · (p_u ⊙ q_i)``.

    He et al., "Neural Collaborative Filtering" (2017), section 3.2. Point estimates, no history.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = GMF(br.data.histories(split), embedding_dim=8)
        >>> model.score(torch.tensor([0]), torch.tensor([[3, 4, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(self, histories: Histories, *, embedding_dim: int = 32):
        super().__init__(histories)
        self.join([(_product(histories, embedding_dim), embedding_dim)])


class MLP(Parts):
    """``x_ui = w · MLP_ReLU(p_u ⊕ q_i)``.

    He et al., "Neural Collaborative Filtering" (2017), section 3.3. Point estimates, no history.

    Args:
        histories: Vocabularies and histories.
        embedding_dim: Length of the vectors.
        layers: Lengths of the layers' outputs, each half of the one before in the paper.
        dropout: Probability that an output is dropped in training.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        layers: Sequence[int] = LAYERS,
        dropout: float = 0.0,
    ):
        super().__init__(histories)
        self.join([(_tower(histories, embedding_dim, layers, dropout), layers[-1])])


class NeuMF(Parts):
    """GMF and MLP, each with vectors of its own, under one last layer:
    ``x_ui = w · [p_u ⊙ q_i ⊕ MLP_ReLU(p'_u ⊕ q'_i)]``.

    He et al., "Neural Collaborative Filtering" (2017), section 3.4, trained together from the
    start. Arguments as :class:`MLP`.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        embedding_dim: int = 32,
        layers: Sequence[int] = LAYERS,
        dropout: float = 0.0,
    ):
        super().__init__(histories)
        gmf = _product(histories, embedding_dim)
        mlp = _tower(histories, embedding_dim, layers, dropout)
        self.join([(gmf, embedding_dim), (mlp, layers[-1])])


def _product(histories: Histories, dim: int) -> Product:
    return Product(embedding(histories.n_users, dim), embedding(histories.n_items, dim))


def _tower(histories: Histories, dim: int, layers: Sequence[int], dropout: float) -> Concatenation:
    tables = embedding(histories.n_users, dim), embedding(histories.n_items, dim)
    return Concatenation(*tables, tower(2 * dim, layers, dropout=dropout))
