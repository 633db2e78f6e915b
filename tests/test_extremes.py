"""Energies and scores where numbers end: finite, exact within, and never pushed further out."""

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import bayes_recsys as br
from bayes_recsys.data import candidates
from bayes_recsys.nn import Attention
from bayes_recsys.nn.attention import bounded
from bayes_recsys.scores import Score
from tests.conftest import make
from tests.test_nn import attend, batch_of

FAMILIES = [br.LogNormal, br.Gamma, br.Weibull]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("energy", [-110.0, -95.0, 95.0])
def test_drawn_weights_and_gradients_are_finite_at_extreme_energies(family, energy):
    query = torch.tensor([[[energy]]], requires_grad=True)
    key = torch.ones(1, 3, 1)
    scores = br.Scores(guide=family(0.5), prior=family(1.0))
    site = attend(Attention(1, scores=scores), query, key, batch_of(1, 1, 3))
    score = site.guide().rsample()
    terms = site.guide().log_prob(score) - site.prior().log_prob(score)
    weights = site.weights(site.log_power(score))
    assert weights.isfinite().all()
    (weights.sum() + terms.sum()).backward()
    assert query.grad.isfinite().all()


class TestBounded:
    def test_is_the_identity_within(self):
        energy = torch.linspace(-30, 30, 1001, requires_grad=True)
        assert bounded(energy) is energy
        with_large = torch.cat([energy, torch.tensor([31.0, -500.0])])
        assert torch.equal(bounded(with_large)[:-2], energy)
        (slope,) = torch.autograd.grad(bounded(with_large)[1:1000].sum(), energy)
        assert torch.equal(slope[1:1000], torch.ones(999))

    def test_grows_beyond_but_no_further_than_it_may(self):
        energy = torch.linspace(30, 60, 100, dtype=torch.float64)
        for sign in (1, -1):
            held = sign * bounded(sign * energy)
            assert (held.diff() > 0).all()
            assert held.max() < 40
            assert (held <= energy).all()
        assert bounded(torch.tensor([1e30, -torch.inf])).abs().tolist() == [40.0, 40.0]

    def test_is_smooth(self):
        energy = torch.tensor([29.9, 30.1, 34.0, -29.9, -31.0, 45.0], dtype=torch.float64)
        assert torch.autograd.gradcheck(bounded, energy.requires_grad_())

    def test_of_nothing_is_nothing(self):
        assert bounded(torch.zeros(2, 0)).shape == (2, 0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prior", FAMILIES)
@pytest.mark.parametrize("energy", [35.0, 60.0, 79.0, 100.0, 1e4, -60.0, -100.0])
def test_a_single_draw_never_pushes_a_large_energy_further(family, prior, energy):
    """Of ``ln q - ln p`` made small: downhill leads back, or nowhere, for every draw."""
    torch.manual_seed(0)
    query = torch.tensor([[[energy]]], requires_grad=True)
    key = torch.ones(1, 50, 1)
    scores = br.Scores(guide=family(0.5), prior=prior(1.0))
    site = attend(Attention(1, scores=scores), query, key, batch_of(1, 1, 50))
    for _ in range(20):
        score = site.guide().rsample()
        loss = (site.guide().log_prob(score) - site.prior().log_prob(score)).sum()
        (slope,) = torch.autograd.grad(loss, query, retain_graph=True)
        assert loss.isfinite()
        assert slope.isfinite()
        assert slope.item() * energy >= 0
    if abs(energy) < 70:
        assert slope.item() * energy > 0, "there is a way back"


@pytest.mark.parametrize("size", [2.0, 4.0, 6.0])
@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_large_vectors_of_bamf_are_pulled_back(size, elbo, histories):
    """Of length 8 and 6 they have energies up to some hundred. The label says nothing here."""
    model = make(br.models.BAMF, histories, embedding_dim=8, item_scores=br.Point())
    with torch.no_grad():
        model.user.weight.fill_(size)
        model.history.weight.fill_(size)
        model.match[1].weight.zero_()
    user = torch.arange(6)
    batch = candidates(histories, user, torch.arange(30).expand(6, -1))
    energy = (model.user.weight[0] @ model.history.weight[0]).item()
    assert energy == pytest.approx(8 * size**2)
    estimate = elbo().differentiable_loss
    model.likelihood = Nothing()
    loss = estimate(model.model, model.guide, batch)
    assert loss.isfinite()
    loss.backward()
    slope = model.user.weight.grad[:6].sum(1)
    assert (slope >= 0).all()
    if energy < 70:
        assert (slope > 0).all()


class Nothing(br.Likelihood):
    """Observes nothing."""

    def __init__(self):
        super().__init__(negatives=1)

    def observe(self, logits, batch):
        pass

    def log_likelihood(self, logits):
        return logits[..., :0]


@pytest.mark.parametrize("log_mean", [100.0, -100.0, 40.1, float("nan")])
def test_scores_beyond_all_bounds_are_refused(log_mean):
    with pytest.raises(ValueError, match="log_mean"):
        Score(torch.tensor([0.0, log_mean]), br.LogNormal(1.0), validate_args=True)
    with pytest.raises(ValueError, match="log_mean"):
        br.Gamma(1.0).distribution(torch.tensor([log_mean]))


@pytest.mark.parametrize("log_mean", [40.0, -40.0])
def test_scores_at_the_bounds_are_not(log_mean):
    draws = Score(torch.tensor(log_mean), br.Gamma(1.0), validate_args=True).sample((100,))
    assert draws.isfinite().all()
    assert (draws > 0).all()


def test_extreme_weights_do_not_stop_a_fit(histories, split):
    torch.manual_seed(0)
    model = br.models.BAMF(histories, embedding_dim=8)
    with torch.no_grad():
        model.user.weight.mul_(100)
        model.history.weight.mul_(100)
    result = br.fit(model, split, training=br.Training(max_epochs=2), progress=False)
    assert result.history["loss"].notna().all()
