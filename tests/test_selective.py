"""Risk and coverage against loops, uncertainty where it is known, ensembles and dropout."""

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.evaluation import aurc, list_uncertainty, risk_coverage
from tests.conftest import make


def series(values):
    return pd.Series(values, index=[f"u{i}" for i in range(len(values))], dtype=float)


def test_risk_is_the_mean_loss_of_those_served():
    rng = np.random.default_rng(0)
    quality, uncertainty = series(rng.uniform(size=20)), series(rng.permutation(20))
    curve = risk_coverage(quality, uncertainty.sample(frac=1, random_state=0))
    for n in (1, 7, 20):
        served = uncertainty.nsmallest(n).index
        assert curve.loc[n - 1, "coverage"] == n / 20
        assert curve.loc[n - 1, "risk"] == pytest.approx(1 - quality[served].mean())


def test_users_who_tie_are_served_in_random_order():
    rng = np.random.default_rng(0)
    quality, uncertainty = series(rng.uniform(size=12)), series(rng.integers(0, 3, 12))
    exact = risk_coverage(quality, uncertainty)["risk"]
    broken = [
        risk_coverage(quality, uncertainty + 1e-6 * rng.uniform(size=12))["risk"]
        for _ in range(4000)
    ]
    np.testing.assert_allclose(exact, np.mean(broken, axis=0), atol=0.02)


def test_gain_is_one_for_knowing_all_and_zero_for_knowing_nothing():
    rng = np.random.default_rng(0)
    quality = series(rng.beta(0.5, 1, 400))
    assert aurc(quality, -quality, resamples=100)["gain"] == pytest.approx(1)
    assert aurc(quality, quality, resamples=100)["gain"] < -0.5
    constant = aurc(quality, 0 * quality, resamples=100)
    assert constant["gain"] == pytest.approx(0, abs=1e-9)
    held = []
    for _ in range(40):
        nothing = aurc(quality, series(rng.uniform(size=400)), resamples=200)
        held.append(nothing["low"] <= 0 <= nothing["high"])
    assert np.mean(held) > 0.85


def test_other_users_are_refused():
    with pytest.raises(ValueError, match="not of the same users"):
        risk_coverage(series([1.0]), pd.Series([1.0], index=["v"]))


class TestListUncertainty:
    def test_of_a_deterministic_model(self, split, histories):
        """Nothing is left open, but it doubts by its probabilities."""
        model = make(br.models.BAMF, histories, user_scores=br.Point())
        table = list_uncertainty(model, split, k=5)
        assert (table["spread"] == 0).all()
        assert (table["disagreement"] == 0).all()
        user = histories.user_codes([table.index[3]])
        known = split.items_by_user("train", "validation").row(int(user)).numpy()
        fresh = torch.from_numpy(np.setdiff1d(np.arange(histories.n_items), known))
        best = model.score(user, fresh[None])[0].topk(5).values
        assert table["doubt"].iloc[3] == pytest.approx(1 - best.sigmoid().mean().item(), rel=1e-5)

    def test_grows_with_the_width_of_the_posterior(self, split, histories):
        narrow, wide = (
            list_uncertainty(
                make(br.models.BAMF, histories, user_scores=br.Scores(br.LogNormal(width))), split
            )
            for width in (0.05, 1.0)
        )
        for column in ("spread", "disagreement"):
            assert (wide[column] >= narrow[column]).mean() > 0.95

    def test_bad_arguments(self, split, histories):
        with pytest.raises(ValueError, match=r"k must be in 1..5 \(shortlist\)"):
            list_uncertainty(make(br.models.BAMF, histories), split, k=6, shortlist=5)


class TestPredictive:
    user, item = torch.tensor([3, 5]), torch.tensor([[1, 2, 3], [4, 5, 6]])

    def test_posterior_is_its_draws(self, histories):
        model = make(br.models.BAMF, histories)
        posterior = br.Posterior(model, draws=6, seed=2)
        expected = br.draw(model, self.user, self.item, draws=6, seed=2).logits
        assert torch.equal(posterior.draw_logits(self.user, self.item), expected)
        assert torch.equal(posterior.score(self.user, self.item), model.score(self.user, self.item))

    def test_ensemble_averages_probabilities(self, split, histories):
        models = [make(br.models.GMF, histories, size=s) for s in (0.3, 0.6, 0.9)]
        ensemble = br.DeepEnsemble(models)
        each = torch.stack([m.score(self.user, self.item) for m in models])
        assert torch.equal(ensemble.draw_logits(self.user, self.item), each)
        score = ensemble.score(self.user, self.item)
        torch.testing.assert_close(score.exp(), each.sigmoid().mean(0))
        assert len(br.evaluate(ensemble, split).per_user)

    def test_ensemble_refuses_one_model_or_two_splits(self, synthetic, histories):
        model = make(br.models.GMF, histories)
        with pytest.raises(ValueError, match="at least two"):
            br.DeepEnsemble([model])
        other = br.data.histories(br.data.split(synthetic.interactions, seed=9))
        with pytest.raises(ValueError, match="same split"):
            br.DeepEnsemble([model, make(br.models.GMF, other)])

    @pytest.mark.parametrize("model_class", [br.models.BAMF, br.models.MLP, br.models.DRNet])
    def test_dropout_is_drawn_and_then_off_again(self, model_class, histories):
        model = make(model_class, histories, dropout=0.5)
        dropout = br.MCDropout(model, draws=300, seed=1)
        state = torch.get_rng_state()
        drawn = dropout.draw_logits(self.user, self.item)
        assert torch.equal(torch.get_rng_state(), state)
        assert not model.training
        assert (drawn.std(0) > 0).all()
        assert torch.equal(drawn, dropout.draw_logits(self.user, self.item))

    def test_bamfs_dropout_keeps_the_mean(self, histories):
        """Its logit is linear in what is dropped."""
        model = make(br.models.BAMF, histories, user_scores=br.Point(), dropout=0.3)
        drawn = br.MCDropout(model, draws=4000).draw_logits(self.user, self.item)
        error = drawn.std(0) / 4000**0.5
        assert ((drawn.mean(0) - model.score(self.user, self.item)).abs() < 4 * error).all()

    def test_dropout_must_be_there(self, histories):
        with pytest.raises(ValueError, match="no dropout"):
            br.MCDropout(make(br.models.BAMF, histories))
