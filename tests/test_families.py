"""Families against SciPy and quadrature."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import bayes_recsys as br
from bayes_recsys.families import LogNormalScore

GRID = [(-3.0, 0.1), (-0.5, 0.5), (0.0, 1.0), (2.0, 2.0)]


@pytest.mark.parametrize(("log_mean", "scale"), GRID)
class TestLogNormal:
    def ours(self, log_mean, scale):
        log_mean = torch.tensor(log_mean, dtype=torch.float64)
        return br.LogNormal(scale).distribution(log_mean)

    def theirs(self, log_mean, scale):
        return stats.lognorm(s=scale, scale=np.exp(log_mean - scale**2 / 2))

    def test_agrees_with_scipy(self, log_mean, scale):
        ours, theirs = self.ours(log_mean, scale), self.theirs(log_mean, scale)
        x = theirs.ppf(np.linspace(0.001, 0.999, 50))
        np.testing.assert_allclose(ours.log_prob(torch.from_numpy(x)), theirs.logpdf(x), rtol=1e-9)
        assert ours.mean.item() == pytest.approx(np.exp(log_mean))
        assert ours.mean.item() == pytest.approx(theirs.mean())
        assert ours.variance.item() == pytest.approx(theirs.var())
        assert ours.entropy().item() == pytest.approx(theirs.entropy())

    def test_density_integrates_to_one(self, log_mean, scale):
        ours, theirs = self.ours(log_mean, scale), self.theirs(log_mean, scale)
        inside = theirs.ppf([0.01, 0.5, 0.99])
        edges = [1e-12, *inside, theirs.ppf(1 - 1e-13)]
        density = lambda x: ours.log_prob(torch.tensor(x, dtype=torch.float64)).exp().item()  # noqa: E731
        parts = [integrate.quad(density, a, b)[0] for a, b in pairwise(edges)]
        assert sum(parts) == pytest.approx(1.0, abs=1e-6)

    @pytest.mark.parametrize("power", [0.5, 1.0, 2.5])
    def test_moments_agree_with_quadrature(self, log_mean, scale, power):
        z = stats.norm
        location = log_mean - scale**2 / 2
        moment, _ = integrate.quad(
            lambda t: z.pdf(t) * np.exp(power * (location + scale * t)), -12, 20, points=[0, 5]
        )
        log_moment = br.LogNormal(scale).log_moment(torch.tensor(log_mean), power)
        assert log_moment.item() == pytest.approx(np.log(moment), rel=1e-5, abs=1e-6)

    def test_draws_follow_the_distribution(self, log_mean, scale):
        torch.manual_seed(0)
        x = self.ours(log_mean, scale).sample((20_000,)).numpy()
        assert stats.kstest(x, self.theirs(log_mean, scale).cdf).pvalue > 1e-3

    def test_gradients_reach_mean_and_value(self, log_mean, scale):
        log_mean = torch.tensor(log_mean, dtype=torch.float64, requires_grad=True)

        def through(log_mean):
            torch.manual_seed(0)
            q = br.LogNormal(scale).distribution(log_mean)
            s = q.rsample()
            return q.log_prob(s) - br.LogNormal(1.0).distribution(log_mean * 0.5).log_prob(s)

        assert torch.autograd.gradcheck(through, log_mean)


def test_expand_keeps_the_density():
    one = LogNormalScore(torch.zeros(3, 1), 0.5)
    many = one.expand((2, 3, 4))
    assert many.sample().shape == (2, 3, 4)
    assert torch.equal(many.log_prob(torch.ones(2, 3, 4)), one.log_prob(torch.ones(2, 3, 4)))


def test_a_value_outside_the_support_is_refused():
    with pytest.raises(ValueError, match="support"):
        LogNormalScore(torch.zeros(2), 1.0, validate_args=True).log_prob(torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_scale_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be positive"):
        br.LogNormal(scale)
