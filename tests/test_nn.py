"""Energies, simplex and attention against loops."""

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data import Batch
from bayes_recsys.nn import Attention, HistoryEntries, energy, simplex
from tests.reference import bamf


def batch_of(G, C, L, history_mask=None):
    """Histories of items 1..L, targets 0..C-1: all but the first exclude one entry."""
    return Batch(
        user=torch.arange(G),
        item=torch.arange(C).expand(G, C),
        mask=torch.ones(G, C, dtype=torch.bool),
        history=torch.arange(1, L + 1).expand(G, L),
        history_mask=torch.ones(G, L, dtype=torch.bool) if history_mask is None else history_mask,
        own=torch.tensor([L, *range(C - 1)]).expand(G, C),
        inside=torch.arange(1, C).expand(G, C - 1),
        share=torch.ones(G),
    )


def attend(attention, query, key, batch):
    return attention(query, HistoryEntries(batch, key, key))


@pytest.mark.parametrize("kind", br.nn.ENERGIES)
def test_energies_agree_with_loops(kind):
    torch.manual_seed(0)
    f = energy(kind, dim=5, hidden=4)
    query, key = torch.randn(2, 3, 5), torch.randn(2, 6, 5)
    weights = {k: v.detach().numpy() for k, v in f.state_dict().items()}
    with torch.no_grad():
        batched = f(query, key).numpy()
        paired = f.paired(*torch.broadcast_tensors(query[:, :, None], key[:, None])).numpy()
    assert batched.shape == (2, 3, 6)
    np.testing.assert_allclose(paired, batched, rtol=1e-4, atol=1e-5)
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


def test_simplex_gradient():
    log_score = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(3, 5) < 0.7
    valid[0] = False
    assert torch.autograd.gradcheck(lambda x: simplex(x, valid, 0.6), log_score)


@pytest.mark.parametrize("scope", ["interaction", "user"])
def test_prior_means_average_one_over_the_valid_history(scope):
    torch.manual_seed(0)
    by_target = scope == "interaction"
    scores = br.Scores(scope=scope, prior_mean="contextual")
    attention = Attention(4, scores=scores, by_target=by_target)
    query, key = torch.randn(2, 3 if by_target else 1, 4), torch.randn(2, 7, 4)
    history_mask = torch.rand(2, 7) < 0.6
    history_mask[0] = False
    site = attend(attention, query, key, batch_of(2, 3, 7, history_mask))
    mean, count = site.prior().mean, site.mask.sum(-1)
    assert mean.shape == site.mask.shape
    average = (mean * site.mask).sum(-1) / count.clamp(min=1)
    torch.testing.assert_close(average[count > 0], torch.ones(int((count > 0).sum())))
    assert mean.std() > 0.01, "the prior does depend on the keys"


def test_other_prior_means():
    query, key = torch.randn(2, 1, 4), torch.randn(2, 7, 4)
    constant = Attention(4)
    assert torch.equal(
        attend(constant, query, key, batch_of(2, 3, 7)).prior().mean, torch.ones(2, 1, 7)
    )
    learned = Attention(4, scores=br.Scores(prior_mean="learned"))
    with torch.no_grad():
        learned.prior_level.fill_(0.5)
    mean = attend(learned, query, key, batch_of(2, 3, 7)).prior().mean
    torch.testing.assert_close(mean, torch.full((2, 1, 7), 0.5).exp())


def test_guide_mean_is_exp_energy():
    query, key = torch.randn(1, 2, 4), torch.randn(1, 3, 4)
    scores = br.Scores(br.LogNormal(0.7), scope="interaction")
    attention = Attention(4, scores=scores, by_target=True)
    guide = attend(attention, query, key, batch_of(1, 2, 3)).guide()
    torch.testing.assert_close(guide.mean, (query @ key.mT).exp())


def test_expected_weights_are_the_limit_of_many_draws():
    """``E[s^τ]`` in closed form against Monte Carlo."""
    torch.manual_seed(0)
    attention = Attention(4, scores=br.Scores(guide=br.LogNormal(0.4)), tau=2.0, beta=0.5)
    query, key = torch.randn(1, 1, 4), torch.randn(1, 3, 4)
    site = attend(attention, query, key, batch_of(1, 1, 3))
    powered = site.guide().sample((200_000,)).square().mean(0)
    by_draws = powered / powered.sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(site.weights(site.expected_log_power()), by_draws, rtol=0.02, atol=0)


def test_a_score_of_the_user_needs_a_query_of_the_user():
    for differs in ({"by_target": True}, {"over": "audience"}):
        with pytest.raises(ValueError, match="use scope='interaction'"):
            Attention(4, scores=br.Scores(scope="user"), **differs)
    attention = Attention(4, scores=br.Scores(scope="user"))
    with pytest.raises(ValueError, match="differ by target; say Attention"):
        attend(attention, torch.randn(1, 2, 4), torch.randn(1, 3, 4), batch_of(1, 2, 3))


def test_what_is_attended_over_is_said_before(histories):
    attention = Attention(4, over="audience", scores=br.Point())
    with pytest.raises(
        ValueError, match=r"entries of the history; say Attention\(.*over='history'"
    ):
        attend(attention, torch.randn(1, 1, 4), torch.randn(1, 3, 4), batch_of(1, 2, 3))
    with pytest.raises(ValueError, match="over must be one of history, audience"):
        Attention(4, over="users")


class TestScale:
    def test_starts_where_it_should_and_stays_in_range(self):
        query, key = torch.randn(2, 1, 4), torch.randn(2, 3, 4)
        scale = br.nn.Scale(4, "amortised", 0.5)
        torch.testing.assert_close(scale(query, key), torch.full((2, 1, 3), 0.5))
        for raw in (-1e4, 1e4):
            with torch.no_grad():
                scale.of_both.fill_(raw)
            assert ((scale(query, key) >= 0.0499) & (scale(query, key) <= 5.01)).all()

    def test_amortised_follows_the_formula(self):
        torch.manual_seed(0)
        scale = br.nn.Scale(4, "amortised", 0.5)
        query, key = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
        with torch.no_grad():
            scale.of_both.normal_()
            scale.of_key.normal_()
        w, v, b = scale.of_both, scale.of_key, scale.bias
        paired = scale.paired(query[:, :, None], key[:, None])
        torch.testing.assert_close(paired, scale(query, key))
        raw = (w * query[1, 2] * key[1, 4]).sum() + (v * key[1, 4]).sum() + b
        expected = 0.05 * (5 / 0.05) ** raw.sigmoid()
        torch.testing.assert_close(scale(query, key)[1, 2, 4], expected)
