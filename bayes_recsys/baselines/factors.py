"""Matrix factorisation, fitted by the library ``implicit`` (``pip install "bayes_recsys[benchmarks]"``)."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from threadpoolctl import threadpool_limits
from torch import Tensor

from bayes_recsys.baselines.linear import chosen
from bayes_recsys.data.splits import Split


class _Factors:
    """What a fitted solver found; the score is the inner product."""

    def __init__(self, split: Split, solver):
        self.split = split
        self.user_factors = torch.from_numpy(solver.user_factors)
        self.item_factors = torch.from_numpy(solver.item_factors)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` of candidates ``item [G, C]`` of users ``user [G]``."""
        return (self.user_factors[user] @ self.item_factors.T).gather(1, item)


class IALS(_Factors):
    """Alternating least squares on all user-item pairs, chosen ones with more weight:

    ``min Σ_ui c_ui (y_ui - p_u·q_i)² + l2 (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²)``, ``c_ui = 1`` unless u chose i,
    and then ``alpha``.

    Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (2008).

    Args:
        split: Fitted to its training part.
        factors: Length of ``p_u`` and ``q_i``.
        l2: Penalty.
        alpha: Weight of a chosen pair, at least 1.
        iterations: Of both sides.
        seed: Of the initial factors.

    Raises:
        ModuleNotFoundError: The library ``implicit`` is absent.
        ValueError: ``factors`` or ``iterations`` is below 1, ``l2`` negative or ``alpha`` below 1.
    """

    def __init__(
        self,
        split: Split,
        *,
        factors: int = 64,
        l2: float = 10.0,
        alpha: float = 1.0,
        iterations: int = 15,
        seed: int = 0,
    ):
        from implicit.als import AlternatingLeastSquares

        _check(factors, iterations, l2)
        if alpha < 1:
            raise ValueError(f"alpha must be at least 1, not {alpha}")
        # implicit's threads and those of BLAS would wait for each other; it warns of that.
        with threadpool_limits(1, "blas"):
            solver = AlternatingLeastSquares(
                factors=factors, regularization=l2, alpha=alpha, iterations=iterations,
                use_gpu=False, random_state=seed,
            )  # fmt: skip
            solver.fit(_counts(split), show_progress=False)
        super().__init__(split, solver)


class BPRMF(_Factors):
    """Matrix factorisation with item biases that ranks a chosen item above a random one:

    ``max Σ ln σ(x_ui - x_uj) - l2/2 ‖Θ‖²``, ``x_ui = p_u·q_i + b_i``.

    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback" (2009). The ``B`` is
    the penalty's prior; the fit is a point. ``implicit`` draws ``j`` as the item of a random choice of
    anyone, popular items more often (the paper: uniformly), and leaves out a triple whose ``j`` the user
    chose too: its scores favour popular items less. The nearest with uniform ``j`` is
    :class:`~bayes_recsys.models.ncf.GMF` fitted with ``BradleyTerry()``, without biases.

    Args:
        split: Fitted to its training part.
        factors: Length of ``p_u`` and ``q_i``.
        l2: Penalty.
        learning_rate: Step size.
        iterations: Passes over the positives.
        seed: Of initial factors and triples.

    Raises:
        ModuleNotFoundError: The library ``implicit`` is absent.
        ValueError: ``factors`` or ``iterations`` is below 1, ``l2`` negative or ``learning_rate``
            not positive.
    """

    def __init__(
        self,
        split: Split,
        *,
        factors: int = 64,
        l2: float = 0.01,
        learning_rate: float = 0.01,
        iterations: int = 100,
        seed: int = 0,
    ):
        from implicit.bpr import BayesianPersonalizedRanking

        _check(factors, iterations, l2)
        if not learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {learning_rate}")
        # More than one thread, and the same seed gives another result.
        solver = BayesianPersonalizedRanking(
            factors=factors, regularization=l2, learning_rate=learning_rate, iterations=iterations,
            num_threads=1, use_gpu=False, random_state=seed,
        )  # fmt: skip
        solver.fit(_counts(split), show_progress=False)
        super().__init__(split, solver)


def _counts(split: Split) -> sparse.csr_matrix:
    return sparse.csr_matrix(chosen(split), dtype=np.float32)


def _check(factors: int, iterations: int, l2: float) -> None:
    if min(factors, iterations) < 1:
        raise ValueError(f"factors and iterations must be at least 1, not {factors}, {iterations}")
    if l2 < 0:
        raise ValueError(f"l2 must not be negative, but is {l2}")
