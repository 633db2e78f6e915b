"""Families and their divergences against SciPy, quadrature and other parameterisations."""

from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy import integrate, optimize, special, stats
from torch.distributions import kl_divergence

import bayes_recsys as br
from bayes_recsys.scores import Gamma, LogNormal, Score, Weibull
from tests.conftest import batches, make

RANDOM = [LogNormal, Gamma, Weibull]
SCALES = [0.02, 0.1, 0.5, 1.0, 2.0, 4.0]
GRID = [
    pytest.param(family, scale, log_mean, id=f"{family.__name__}-{scale}-{log_mean}")
    for family, scale, log_mean in product(RANDOM, SCALES, [-3.0, 0.0, 2.0])
]


def ours(family, scale, log_mean):
    return family(scale).distribution(torch.tensor(log_mean, dtype=torch.float64))


def theirs(family, scale, log_mean):
    """The same distribution in SciPy, its shape found from the mean and sd of ln s by SciPy."""
    mean = np.exp(log_mean)
    if family is LogNormal:
        return stats.lognorm(s=scale, scale=np.exp(log_mean - scale**2 / 2))
    if family is Gamma:
        a = optimize.brentq(lambda a: special.polygamma(1, a) - scale**2, 1e-3, 1e7, xtol=1e-12)
        return stats.gamma(a=a, scale=mean / a)
    k = np.pi / (np.sqrt(6) * scale)
    return stats.weibull_min(c=k, scale=mean / stats.weibull_min(c=k).mean())


def on_the_log_scale(function, distribution):
    """``∫ function(ln s) p(s) ds`` by quadrature over ``y = ln s``, in pieces."""
    centre, width = distribution.expected_log.item(), distribution.variance_log.sqrt().item()

    def integrand(y):
        value = torch.tensor(y, dtype=torch.float64)
        return function(y) * (distribution.log_prob(value.exp()) + value).exp().item()

    edges = centre + width * np.array([-40, -12, -4, -1.5, 0, 1.5, 4, 7, 10, 14])
    edges = edges[edges > -300]
    pieces = pairwise(edges)
    return sum(integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-10)[0] for a, b in pieces)


@pytest.mark.parametrize(("family", "scale", "log_mean"), GRID)
class TestFamily:
    def test_agrees_with_scipy(self, family, scale, log_mean):
        q, scipy = ours(family, scale, log_mean), theirs(family, scale, log_mean)
        s = scipy.ppf(np.linspace(0.001, 0.999, 50))
        np.testing.assert_allclose(
            q.log_prob(torch.from_numpy(s)), scipy.logpdf(s), rtol=1e-7, atol=1e-7
        )
        assert q.mean.item() == pytest.approx(scipy.mean())
        assert q.variance.item() == pytest.approx(scipy.var(), rel=1e-6)
        assert q.entropy().item() == pytest.approx(scipy.entropy(), abs=1e-6)

    def test_integrals_by_quadrature(self, family, scale, log_mean):
        q = ours(family, scale, log_mean)
        assert on_the_log_scale(lambda y: 1.0, q) == pytest.approx(1.0, abs=1e-8)
        mean = on_the_log_scale(lambda y: y, q)
        assert q.expected_log.item() == pytest.approx(mean, abs=1e-7)
        variance = on_the_log_scale(lambda y: (y - mean) ** 2, q)
        assert np.sqrt(variance) == pytest.approx(scale, rel=1e-6), "scale is the sd of ln s"
        assert q.variance_log.item() == pytest.approx(variance, rel=1e-6)

    @pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.5])
    def test_moments_by_quadrature(self, family, scale, log_mean, power):
        if power * scale > 5:
            pytest.skip("the integrand's mass lies beyond what the quadrature covers")
        q = ours(family, scale, log_mean)
        moment = on_the_log_scale(lambda y: np.exp(power * (y - log_mean)), q)
        log_moment = family(scale).log_moment(torch.tensor(0.0, dtype=torch.float64), power)
        assert float(log_moment) == pytest.approx(np.log(moment), abs=1e-6)

    def test_draws_follow_the_distribution(self, family, scale, log_mean):
        torch.manual_seed(0)
        draws = ours(family, scale, log_mean).sample((20_000,)).numpy()
        assert stats.kstest(draws, theirs(family, scale, log_mean).cdf).pvalue > 1e-3

    def test_gradients(self, family, scale, log_mean):
        log_mean = torch.tensor(log_mean, dtype=torch.float64, requires_grad=True)

        def through(log_mean):
            torch.manual_seed(0)
            q = family(scale).distribution(log_mean)
            s = q.rsample()
            return q.log_prob(s), LogNormal(1.0).distribution(log_mean * 0.5).log_prob(s)

        assert torch.autograd.gradcheck(through, log_mean)

    def test_single_precision_is_finite(self, family, scale, log_mean):
        torch.manual_seed(0)
        log_mean = torch.full((200_000,), log_mean, requires_grad=True)
        q = family(scale).distribution(log_mean)
        s = q.rsample()
        loss = (q.log_prob(s) - Gamma(1.0).distribution(torch.zeros(1)).log_prob(s)).mean()
        loss.backward()
        assert (s > 0).all()
        assert loss.isfinite()
        assert log_mean.grad.isfinite().all()


PAIRS = [pytest.param(q, p, id=f"{q.__name__}-{p.__name__}") for q, p in product(RANDOM, RANDOM)]


@pytest.mark.parametrize(("q_family", "p_family"), PAIRS)
class TestDivergence:
    @pytest.mark.parametrize("q_scale", [0.1, 0.6, 1.5])
    @pytest.mark.parametrize("p_scale", [0.3, 1.0, 2.0])
    @pytest.mark.parametrize("shift", [-1.0, 0.0, 0.7])
    def test_agrees_with_quadrature(self, q_family, p_family, q_scale, p_scale, shift):
        q, p = ours(q_family, q_scale, shift + 0.4), ours(p_family, p_scale, 0.4)

        def ratio(y):
            value = torch.tensor(y, dtype=torch.float64).exp()
            return (q.log_prob(value) - p.log_prob(value)).item()

        exact = kl_divergence(q, p).item()
        assert exact >= 0
        assert exact == pytest.approx(on_the_log_scale(ratio, q), rel=1e-5, abs=1e-9)

    def test_agrees_with_sampling(self, q_family, p_family):
        torch.manual_seed(0)
        q, p = ours(q_family, 0.3, 0.5), ours(p_family, 0.8, 0.0)
        s = q.sample((400_000,))
        terms = q.log_prob(s) - p.log_prob(s)
        error = terms.std() / len(terms) ** 0.5
        assert (terms.mean() - kl_divergence(q, p)).abs() < 4 * error

    def test_the_floor_is_the_least_over_all_means(self, q_family, p_family):
        floor = p_family(1.0).divergence_floor(q_family(0.2)).item()
        shifts = np.linspace(-3, 3, 301)
        by_search = min(
            kl_divergence(ours(q_family, 0.2, shift), ours(p_family, 1.0, 0.0)).item()
            for shift in shifts
        )
        assert floor == pytest.approx(by_search, abs=2e-3)
        assert floor <= by_search + 1e-12

    def test_zero_only_for_the_same(self, q_family, p_family):
        same = kl_divergence(ours(q_family, 0.7, 0.2), ours(p_family, 0.7, 0.2)).item()
        if q_family is p_family:
            assert same == pytest.approx(0.0, abs=1e-12)
        else:
            assert same > 1e-4

    def test_both_elbos_agree_under_masks_and_scales(self, q_family, p_family, histories, batch):
        """In the mean of 120 estimates each, to four standard errors."""
        scores = br.Scores(q_family(0.3), p_family(0.8), scope="interaction")
        model = make(br.models.BAMF, histories, user_scores=scores, item_scores=scores)

        def estimates(elbo):
            loss = partial(elbo.differentiable_loss, model.model, model.guide, batch)
            with torch.no_grad(), br.inference.Tempered(0.5, "mean"):
                return torch.stack([loss() for _ in range(120)])

        sampled, exact = estimates(Trace_ELBO()), estimates(TraceMeanField_ELBO())
        error = ((sampled.var() + exact.var()) / 120).sqrt()
        assert (sampled.mean() - exact.mean()).abs() < 4 * error
        assert error < 0.01 * exact.mean()

    def test_gradients_of_both_elbos_agree(self, q_family, p_family, histories, split):
        """In the mean of 100 pairs of estimates from the same draws; |z| < 5 for every parameter,
        and z² averages 1 over the users' vectors, which only the guide has."""
        scores = br.Scores(q_family("amortised"), p_family("learned"), prior_mean="learned")
        model = make(br.models.BAMF, histories, size=0.15, embedding_dim=6, user_scores=scores)

        batch = next(iter(batches(split, histories, pairs=240).epoch(1)))

        def gradients(elbo, seed):
            torch.manual_seed(seed)
            model.zero_grad()
            elbo(model, model.guide)(batch).backward()
            return {k: p.grad.flatten() for k, p in model.named_parameters()}

        pairs = [
            (gradients(Trace_ELBO(), n), gradients(TraceMeanField_ELBO(), n)) for n in range(100)
        ]
        z = {}
        for name in pairs[0][0]:
            difference = torch.stack([sampled[name] - exact[name] for sampled, exact in pairs])
            error = difference.std(0) / 10
            z[name] = (difference.mean(0) / error)[error > 1e-6 * pairs[0][1][name].abs().max()]
        assert all((values.abs() < 5).all() for values in z.values())
        assert len(z["user.weight"]) >= 60
        assert 0.4 < z["user.weight"].square().mean() < 1.8
        for name in ("guide_scale.bias", "prior_scale.bias", "prior_level"):
            assert len(z[f"user_attention.{name}"]) == 1

    def test_differentiable_in_means_and_scales(self, q_family, p_family):
        def divergence(q_mean, q_scale, p_mean, p_scale):
            q = q_family().with_scale(q_scale).distribution(q_mean)
            return kl_divergence(q, p_family().with_scale(p_scale).distribution(p_mean))

        values = ([0.3, -0.5], [0.2, 1.3], [0.0, 0.1], [0.9, 0.4])
        leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
        assert torch.autograd.gradcheck(divergence, leaves)


@pytest.mark.parametrize("family", RANDOM)
@pytest.mark.parametrize("scale", [0.1, 0.7, 1.5, 3.0])
def test_draws_are_reparameterised_in_the_scale(family, scale):
    """Pathwise gradients of E[ln s] and E[(ln s)²], to four standard errors."""
    torch.manual_seed(0)
    each = torch.full((200_000,), scale, dtype=torch.float64, requires_grad=True)
    log_s = family().with_scale(each).distribution(torch.zeros_like(each)).rsample().log()
    one = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    expected = family().with_scale(one).expected_log
    for value, moment in ((log_s, expected), (log_s**2, expected**2 + one**2)):
        (by_draws,) = torch.autograd.grad(value.sum(), each, retain_graph=True)
        (exact,) = torch.autograd.grad(moment, one, retain_graph=True)
        error = by_draws.std() / len(by_draws) ** 0.5
        assert (by_draws.mean() - exact).abs() < 4 * error


def test_a_learned_scale_has_no_value_by_itself():
    with pytest.raises(ValueError, match="outside an Attention"):
        LogNormal("learned").distribution(torch.zeros(2)).sample()


def test_agrees_with_torch_where_torch_has_it():
    a, b, rate = Gamma(0.4).shape.item(), Gamma(1.1).shape.item(), np.exp(-0.3)
    other = kl_divergence(
        torch.distributions.Gamma(torch.tensor(a), torch.tensor(a)),
        torch.distributions.Gamma(torch.tensor(b), torch.tensor(b * rate)),
    )
    assert kl_divergence(ours(Gamma, 0.4, 0.0), ours(Gamma, 1.1, 0.3)).item() == pytest.approx(
        other.item(), rel=1e-4
    )


def test_expand_keeps_the_density():
    one = LogNormal(0.5).distribution(torch.zeros(3, 1))
    many = one.expand((2, 3, 4))
    assert many.sample().shape == (2, 3, 4)
    assert torch.equal(many.log_prob(torch.ones(2, 3, 4)), one.log_prob(torch.ones(2, 3, 4)))


def test_a_value_outside_the_support_is_refused():
    with pytest.raises(ValueError, match="support"):
        Score(torch.zeros(2), LogNormal(1.0), validate_args=True).log_prob(
            torch.tensor([1.0, -1.0])
        )


@pytest.mark.parametrize("family", RANDOM)
@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), 6.0, 1e-4, "narrow", torch.tensor(1.0)])
def test_bad_scale_is_refused(family, scale):
    with pytest.raises(ValueError, match=r"scale, .* must be between 0\.001 and 5"):
        family(scale)
