"""The k-hat of importance weights, where the answer is known."""

import numpy as np
import pytest

from bayes_recsys.posterior.importance import pareto_k


@pytest.mark.parametrize("k", [0.2, 0.5, 0.7, 1.0, 2.0])
def test_finds_the_shape_of_a_pareto_tail(k):
    """``U^(-k)`` is Pareto with shape ``k`` throughout."""
    rng = np.random.default_rng(0)
    found = [pareto_k(-k * np.log(rng.uniform(size=20_000))) for _ in range(10)]
    assert np.mean(found) == pytest.approx(k, rel=0.05, abs=0.05)


def test_a_constant_factor_changes_nothing_and_the_weights_stay():
    log_weights = np.random.default_rng(0).exponential(size=1000)
    before = log_weights.copy()
    assert pareto_k(log_weights - 5000) == pytest.approx(pareto_k(log_weights))
    assert (log_weights == before).all()


def test_a_proposal_too_narrow_is_told_from_one_wide_enough():
    """The target is standard normal: of ``q = N(0, σ)``, k is 1 - σ², and 0 for σ of at least 1."""
    rng = np.random.default_rng(0)
    k = {}
    for sd in (0.3, 1.1):
        x = sd * rng.normal(size=20_000)
        k[sd] = pareto_k(-(x**2) / 2 + (x / sd) ** 2 / 2)
    assert k[0.3] > 0.7
    assert k[1.1] < 0.1


@pytest.mark.parametrize(
    "log_weights", [np.zeros(10), np.zeros((100, 2)), np.full(100, np.nan), np.full(100, -np.inf)]
)
def test_refuses_what_has_no_tail(log_weights):
    with pytest.raises(ValueError, match="at least 25 finite numbers"):
        pareto_k(log_weights)
