"""Energies, simplex and attention against loops."""

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.nn import Attention, energy, simplex
from tests.reference import bamf


@pytest.mark.parametrize("kind", br.nn.ENERGIES)
def test_energies_agree_with_loops(kind):
    torch.manual_seed(0)
    f = energy(kind, dim=5, hidden=4)
    query, key = torch.randn(2, 3, 5), torch.randn(2, 6, 5)
    weights = {k: v.detach().numpy() for k, v in f.state_dict().items()}
    with torch.no_grad():
        batched = f(query, key).numpy()
    assert batched.shape == (2, 3, 6)
    for g, c, j in np.ndindex(batched.shape):
        one = bamf.energy(kind, weights, query[g, c].numpy(), key[g, j].numpy())
        assert batched[g, c, j] == pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0])
def test_simplex_agrees_with_the_formula(beta):
    log_score = torch.tensor([[0.3, -1.0, 2.0, 5.0]])
    valid = torch.tensor([[True, True, True, False]])
    s = log_score.exp()[0, :3]
    expected = torch.cat([s / s.sum() ** beta, torch.zeros(1)])
    torch.testing.assert_close(simplex(log_score, valid, beta)[0], expected)


def test_simplex_is_safe_at_extremes():
    log_score = torch.tensor([[900.0, 899.0], [-900.0, -901.0], [0.0, 0.0]], requires_grad=True)
    valid = torch.tensor([[True, True], [True, True], [False, False]])
    weights = simplex(log_score, valid, beta=1.0)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[2], torch.zeros(2))
    weights.square().sum().backward()
    assert log_score.grad.isfinite().all()


@pytest.mark.parametrize("family", [br.LogNormal, br.Gamma, br.Weibull])
@pytest.mark.parametrize("energy", [-110.0, -95.0, 95.0])
def test_drawn_weights_and_gradients_are_finite_at_extreme_energies(family, energy):
    query = torch.tensor([[[energy]]], requires_grad=True)
    key = torch.ones(1, 3, 1)
    valid = torch.ones(1, 1, 3, dtype=torch.bool)
    site = Attention(1, guide=family(0.5), prior=family(1.0))(query, key, key, valid)
    score = site.guide().rsample()
    terms = site.guide().log_prob(score) - site.prior().log_prob(score)
    weights = site.weights(score)
    assert weights.isfinite().all()
    (weights.sum() + terms.sum()).backward()
    assert query.grad.isfinite().all()


def test_simplex_gradient():
    log_score = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(3, 5) < 0.7
    valid[0] = False
    assert torch.autograd.gradcheck(lambda x: simplex(x, valid, 0.6), log_score)


def test_prior_means_average_one_over_the_valid_history():
    torch.manual_seed(0)
    attention = Attention(4)
    query, key = torch.randn(2, 3, 4), torch.randn(2, 7, 4)
    valid = torch.rand(2, 3, 7) < 0.6
    valid[0, 0] = False
    mean = attention(query, key, key, valid).prior().mean
    count = valid.sum(-1)
    average = (mean * valid).sum(-1) / count.clamp(min=1)
    torch.testing.assert_close(average[count > 0], torch.ones(int((count > 0).sum())))
    assert mean.std() > 0.01, "the prior does depend on the keys"


def test_guide_mean_is_exp_energy():
    query, key = torch.randn(1, 2, 4), torch.randn(1, 3, 4)
    valid = torch.ones(1, 2, 3, dtype=torch.bool)
    guide = Attention(4, guide=br.LogNormal(0.7))(query, key, key, valid).guide()
    torch.testing.assert_close(guide.mean, (query @ key.mT).exp())


def test_expected_weights_are_the_limit_of_many_draws():
    """``E[s^τ]`` in closed form against Monte Carlo."""
    torch.manual_seed(0)
    attention = Attention(4, guide=br.LogNormal(0.4), tau=2.0, beta=0.5)
    query, key = torch.randn(1, 2, 4), torch.randn(1, 3, 4)
    valid = torch.ones(1, 2, 3, dtype=torch.bool)
    site = attention(query, key, key, valid)
    powered = site.guide().sample((200_000,)).square().mean(0)
    by_draws = powered / powered.sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(site.expected_weights(), by_draws, rtol=0.02, atol=0)
