"""What every family must satisfy: its formulas against quadrature of its own density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy import integrate, stats
from torch.distributions import kl_divergence

import bayes_recsys as br
from bayes_recsys.scores import RandomFamily, Score
from bayes_recsys.testing.data import SmallData, make

SHIPPED = (br.LogNormal, br.Gamma, br.Weibull)


class FamilyTests(SmallData):
    """Inherit, and name the family.

    Attributes:
        family: The class.
    """

    family: ClassVar[type[RandomFamily]]

    @pytest.fixture(params=[0.1, 0.5, 1.0, 2.0])
    def scale(self, request) -> float:
        """Standard deviations of ``ln s``."""
        return request.param

    @pytest.fixture(params=SHIPPED, ids=lambda family: family.__name__)
    def other(self, request) -> type[RandomFamily]:
        """The families of this package, beside which it must stand."""
        return request.param

    def test_integrals(self, scale):
        """Mass, mean, entropy and moments; the scale is the sd of ln s."""
        q = of(self.family, scale, 0.3)
        assert by_quadrature(lambda y: 1.0, q) == pytest.approx(1.0, abs=1e-7)
        mean = by_quadrature(lambda y: y, q)
        assert q.expected_log.item() == pytest.approx(mean, abs=1e-6)
        variance = by_quadrature(lambda y: (y - mean) ** 2, q)
        assert np.sqrt(variance) == pytest.approx(scale, rel=1e-5)
        entropy = by_quadrature(lambda y: -log_density(q, y), q)
        assert q.family.entropy_log.item() == pytest.approx(entropy, abs=1e-5)
        for power in (0.5, 1.0, 1.5):
            moment = np.log(by_quadrature(lambda y, p=power: np.exp(p * (y - 0.3)), q))
            assert float(q.family.log_noise_moment(power)) == pytest.approx(moment, abs=1e-5)

    def test_draws_follow_the_density(self, scale):
        torch.manual_seed(0)
        q = of(self.family, scale, 0.3)
        y = np.sort(q.sample((5_000,)).log().numpy())
        grid = np.linspace(y[0] - 1, y[-1] + 1, 4001)
        density = np.exp([log_density(q, one) for one in grid])
        mass = integrate.cumulative_trapezoid(density, grid, initial=0)
        assert stats.kstest(y, lambda x: np.interp(x, grid, mass / mass[-1])).pvalue > 1e-3

    @pytest.mark.parametrize("is_guide", [True, False])
    def test_divergence(self, other, is_guide):
        families = (self.family, other) if is_guide else (other, self.family)
        q, p = of(families[0], 0.4, 0.5), of(families[1], 1.0, 0.0)
        exact = kl_divergence(q, p).item()

        def ratio(y: float) -> float:
            return log_density(q, y) - log_density(p, y)

        assert exact == pytest.approx(by_quadrature(ratio, q), rel=1e-4, abs=1e-7)
        floor = p.family.divergence_floor(q.family).item()
        shifts = np.linspace(-3, 3, 301)
        least = min(kl_divergence(of(families[0], 0.4, s), p).item() for s in shifts)
        assert floor == pytest.approx(least, abs=2e-3)
        assert floor <= least + 1e-9

    def test_a_learned_scale_leaves_all_else(self):
        """A family's own options travel with it."""
        given = self.family(0.7)
        valued = given.with_scale(torch.tensor(0.7, dtype=torch.float64))
        for field in fields(given):
            if field.name != "scale":
                assert getattr(valued, field.name) == getattr(given, field.name)
        for own in (valued.entropy_log, valued.expected_log):
            assert own.isfinite()

    def test_no_divergence_from_itself(self, scale):
        one = of(self.family, scale, 0.2)
        assert kl_divergence(one, of(self.family, scale, 0.2)).item() == pytest.approx(0, abs=1e-7)

    def test_draws_are_reparameterised_in_the_scale(self, scale):
        """Pathwise gradients of E[ln s] and E[(ln s)²], to four standard errors."""
        torch.manual_seed(0)
        each = torch.full((100_000,), scale, dtype=torch.float64, requires_grad=True)
        log_s = Score(torch.zeros_like(each), self.family().with_scale(each)).rsample().log()
        one = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        expected = self.family().with_scale(one).expected_log
        for value, moment in ((log_s, expected), (log_s**2, expected**2 + one**2)):
            (by_draws,) = torch.autograd.grad(value.sum(), each, retain_graph=True)
            (exact,) = torch.autograd.grad(moment, one, retain_graph=True)
            error = by_draws.std() / len(by_draws) ** 0.5
            assert (by_draws.mean() - exact).abs() < 4 * error

    def test_single_precision_is_finite(self, scale):
        torch.manual_seed(0)
        log_mean = torch.full((100_000,), 0.3, requires_grad=True)
        q = self.family(scale).distribution(log_mean)
        s = q.rsample()
        loss = (q.log_prob(s) - br.Gamma(1.0).distribution(torch.zeros(1)).log_prob(s)).mean()
        loss.backward()
        assert (s > 0).all()
        assert loss.isfinite()
        assert log_mean.grad.isfinite().all()

    def test_both_elbos_agree(self, histories, batch):
        """Sampled and closed divergences, in the mean of 60 estimates each, to four standard errors."""
        options = br.models.Options(
            br.models.BAMF, {"user_scores": br.Scores(self.family(0.3), self.family(0.8))}
        )
        model = make(options, histories)
        with torch.no_grad():
            sampled, exact = (
                torch.stack(
                    [elbo.differentiable_loss(model.model, model.guide, batch) for _ in range(60)]
                )
                for elbo in (Trace_ELBO(), TraceMeanField_ELBO())
            )
        error = ((sampled.var() + exact.var()) / 60).sqrt()
        assert (sampled.mean() - exact.mean()).abs() < 4 * error

    @pytest.mark.parametrize("width", [0.5, "learned", "amortised"])
    def test_trains_and_is_saved(self, width, histories, split, tmp_path):
        torch.manual_seed(0)
        scores = br.Scores(guide=self.family(width), prior=self.family(1.0))
        model = br.models.BAMF(histories, embedding_dim=8, user_scores=scores)
        training = br.Training(max_epochs=4, learning_rate=1e-2)
        history = br.fit(model, split, training=training, progress=False).history
        assert history["loss"].iloc[-1] < history["loss"].iloc[0]
        br.save_model(model, tmp_path / "model")
        loaded = br.load_model(tmp_path / "model")
        assert loaded.options == model.options
        assert br.recommend(loaded, users=["3"], k=4).equals(br.recommend(model, ["3"], k=4))


def of(family: type[RandomFamily], scale: float, log_mean: float) -> Score:
    """A score in double precision."""
    return family(scale).distribution(torch.tensor(log_mean, dtype=torch.float64))


def log_density(score: Score, y: float) -> float:
    """Of ``y = ln s``."""
    value = torch.tensor(y, dtype=torch.float64)
    return (score.log_prob(value.exp()) + value).item()


def by_quadrature(function: Callable[[float], float], score: Score) -> float:
    """``∫ function(ln s) p(s) ds`` over ``y = ln s``, in pieces."""

    def integrand(y: float) -> float:
        return function(y) * np.exp(log_density(score, y))

    centre, width = score.expected_log.item(), score.variance_log.sqrt().item()
    edges = centre + width * np.array([-40, -12, -4, -1.5, 0, 1.5, 4, 7, 10, 14])
    edges = edges[edges > -300]
    return sum(
        integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-10)[0] for a, b in pairwise(edges)
    )
