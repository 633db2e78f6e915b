"""Exact scores of many users side by side, against numerical integration and simulated truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.inference.exact import pairs_of
from bayes_recsys.inference.hmc import hmc, sample_scores
from bayes_recsys.posterior import exact_scores
from tests.conftest import make
from tests.test_exact import integrated


@pytest.fixture(scope="module")
def small():
    data = br.data.synthetic(n_users=12, n_items=30, length=(10, 12), seed=2).interactions
    split = br.data.split(data, seed=0)
    return split, br.data.histories(split, max_length=2)


@pytest.mark.parametrize(
    ("family", "likelihood"),
    [
        (br.Gamma, br.BradleyTerry(negatives=2)),
        (br.Weibull, br.Softmax()),
    ],
)
def test_it_is_the_posterior_that_a_grid_gives(small, family, likelihood):
    split, histories = small
    scores = br.Scores(family("learned"), family(1.0))
    model = make(br.models.BAMF, histories, size=1.0, embedding_dim=4, user_scores=scores)
    model.likelihood = likelihood
    batch = pairs_of(model, split, 3, seed=0)
    mean, sd = integrated(model, batch, [0, 1], high=2.5, points=60)
    drawn = sample_scores(model, batch, draws=160, warmup=40, chains=3).log()
    assert drawn.shape == (3, 160, 1, 2)
    every = drawn.flatten(0, 1)[:, 0]
    np.testing.assert_allclose(every.mean(0), mean, atol=0.15)
    np.testing.assert_allclose(every.std(0), sd, rtol=0.15)
    assert (drawn.mean((1, 2, 3)) - drawn.mean()).abs().max() < 0.2


def test_users_side_by_side_are_as_alone(small):
    """Of different lengths: what one does moves no other, and padding stays 1."""
    data = br.data.synthetic(n_users=12, n_items=30, length=(10, 12), seed=2).interactions
    split = br.data.split(data, seed=0)
    model = make(br.models.BAMF, br.data.histories(split), size=0.15, embedding_dim=4)
    sampler = br.data.negative_sampler(split)
    made = br.data.TrainingBatches(
        split.items_by_user("train"), model.histories, sampler, 4, block=50, pairs=2000
    )
    batch = replace(next(made.epoch(1)), scale=1.0)
    assert len(batch.user) > 5
    drawn = sample_scores(model, batch, draws=200, warmup=40).log()
    assert (drawn[..., ~batch.history_mask] == 0).all()
    for row in (0, 3):
        one = pairs_of(model, split, int(batch.user[row]), seed=0)
        real = batch.mask[row]
        one = replace(
            br.data.candidates(model.histories, batch.user[[row]], batch.item[row][real][None]),
            label=batch.label[row][real][None],
            negatives=4,
        )
        alone = sample_scores(model, one, draws=200, warmup=40).log().flatten(0, 1)[:, 0]
        beside = drawn.flatten(0, 1)[:, row, : alone.shape[1]]
        np.testing.assert_allclose(beside.mean(0), alone.mean(0), atol=0.3)
        np.testing.assert_allclose(beside.std(0), alone.std(0), rtol=0.3)


@pytest.fixture(scope="module")
def fitted():
    split = br.data.split(br.data.synthetic(n_users=30, n_items=60, seed=0).interactions)
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
    br.fit(model, split, training=br.Training(max_epochs=3), progress=False)
    return split, model


class TestOfASplit:
    def test_all_users_are_evaluated_and_summarised(self, fitted):
        split, model = fitted
        before = [p.requires_grad for p in model.parameters()]
        state = torch.random.get_rng_state()
        exact = hmc(model, split, draws=10, warmup=10, progress=False)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert [p.requires_grad for p in model.parameters()] == before
        assert len(br.evaluate(exact, split, progress=False).per_user) > 20
        assert br.predictive_nll(exact, split).notna().all()
        summary = exact.summary()
        assert len(summary) == 30
        lengths = model.histories.history.lengths
        assert (summary["entries"].to_numpy() == lengths.numpy()).all()
        again = hmc(model, split, draws=10, warmup=10, progress=False)
        assert all(torch.equal(exact.scores[u], again.scores[u]) for u in exact.scores)

    def test_some_candidates_at_a_time_are_as_all(self, fitted, monkeypatch):
        split, model = fitted
        exact = hmc(model, split, ["3", "7"], draws=5, warmup=2, progress=False)
        user, item = torch.tensor([3, 7]), torch.arange(60).expand(2, -1)
        whole = exact.draw_logits(user, item)
        monkeypatch.setattr(exact_scores, "AT_ONCE", 500)
        torch.testing.assert_close(exact.draw_logits(user, item), whole)

    def test_a_density_that_is_not_finite_is_refused(self, fitted):
        split, model = fitted
        broken = br.models.BAMF(model.histories, embedding_dim=8)
        torch.nn.init.constant_(broken.match[1].weight, float("nan"))
        with pytest.raises(FloatingPointError, match="not finite"):
            hmc(broken, split, ["3"], draws=4, warmup=1, progress=False)

    def test_what_does_not_fit_is_refused(self, fitted):
        split, model = fitted
        with pytest.raises(MemoryError, match="draws, chains or users"):
            hmc(model, split, draws=10**12, progress=False)

    def test_what_nothing_is_known_of_stays_the_prior(self, fitted):
        """With vectors of zeros labels say nothing of scores."""
        split, model = fitted
        blind = br.models.BAMF(model.histories, embedding_dim=8)
        torch.nn.init.zeros_(blind.match[1].weight)
        summary = hmc(blind, split, draws=200, warmup=30, progress=False).summary()
        assert abs(summary["contraction"].mean()) < 0.05
        assert summary["moved"].mean() < 0.15
        assert summary["r-hat"].median() < 1.05

    def test_refuses(self, fitted):
        split, model = fitted
        histories = model.histories
        with pytest.raises(ValueError, match="scope 'user'"):
            hmc(br.models.GMF(histories), split, progress=False)
        of_pairs = br.Scores(scope="interaction")
        with pytest.raises(ValueError, match="scope 'user'"):
            hmc(br.models.BAMF(histories, user_scores=of_pairs), split, progress=False)
        with pytest.raises(KeyError, match="nobody"):
            hmc(model, split, ["nobody"], progress=False)
        with pytest.raises(ValueError, match="chains"):
            hmc(model, split, chains=1)
        with pytest.raises(TypeError, match="split"):
            hmc(model, "split")
        exact = hmc(model, split, ["3"], draws=4, warmup=1, progress=False)
        with pytest.raises(ValueError, match="'4' were not drawn"):
            exact.draw_logits(torch.tensor([4]), torch.tensor([[1]]))
