"""Risk and coverage against loops, uncertainty where it is known, ensembles and dropout."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.evaluation import aurc, list_uncertainty, risk_coverage
from bayes_recsys.experiments import settings, uncertainty
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
    assert aurc([quality], [-quality], resamples=100)["gain"] == pytest.approx(1)
    assert aurc([quality], [quality], resamples=100)["gain"] < -0.5
    constant = aurc([quality], [0 * quality], resamples=100)
    assert constant["gain"] == pytest.approx(0, abs=1e-9)
    held = []
    for _ in range(40):
        nothing = aurc([quality], [series(rng.uniform(size=400))], resamples=200)
        held.append(nothing["low"] <= 0 <= nothing["high"])
    assert np.mean(held) > 0.85


def test_seeds_narrow_the_interval_of_the_gain():
    """Each seed's uncertainty knows something, with noise of its own."""
    rng = np.random.default_rng(0)
    quality = [series(rng.uniform(size=200)) for _ in range(6)]
    uncertainty = [-q + 0.5 * rng.normal(size=200) for q in quality]
    one = aurc(quality[:1], uncertainty[:1], resamples=200)
    all_six = aurc(quality, uncertainty, resamples=200)
    ratio = (all_six["high"] - all_six["low"]) / (one["high"] - one["low"])
    assert 0.3 < ratio < 0.6, "about 1 / sqrt(6)"
    each = [aurc([q], [u], resamples=2) for q, u in zip(quality, uncertainty, strict=True)]
    for area in ("aurc", "random", "best"):
        assert all_six[area] == pytest.approx(np.mean([one[area] for one in each]))
    possible = all_six["random"] - all_six["best"]
    assert all_six["gain"] == pytest.approx((all_six["random"] - all_six["aurc"]) / possible)


def test_within_groups_only_what_is_known_besides_them_counts():
    rng = np.random.default_rng(0)
    group = series(rng.integers(0, 5, 500))
    quality = group / 10 + 0.4 * series(rng.uniform(size=500))
    by_group, by_all = -group, -quality
    inside = {"groups": [group.map("group {:.0f}".format)], "resamples": 100}
    assert aurc([quality], [by_group], resamples=100)["gain"] > 0.5
    assert aurc([quality], [by_group], **inside)["gain"] == pytest.approx(0, abs=1e-9)
    assert aurc([quality], [by_all], **inside)["gain"] == pytest.approx(1)
    noisy = by_all + 0.1 * series(rng.normal(size=500))
    result = aurc([quality], [noisy], **inside)
    each = [aurc([q], [noisy[q.index]], resamples=2) for _, q in quality.groupby(group)]
    size = group.value_counts(sort=False).sort_index().to_numpy() / 500
    for area in ("aurc", "random", "best"):
        assert result[area] == pytest.approx(size @ np.array([one[area] for one in each]))
    assert 0 < result["low"] < result["gain"] < result["high"] < 1


@pytest.mark.parametrize("value", [0.1, 0.123, 0.7])
def test_nothing_is_gained_where_all_lists_are_alike(value):
    alike = series(np.full(331, value))
    result = aurc([alike], [series(np.arange(331))], resamples=50)
    assert (result[["gain", "low", "high"]] == 0).all()


@pytest.mark.parametrize(
    ("quality", "uncertainty", "message"),
    [
        (series([1.0, 0.0]), pd.Series([1.0, 0.0], index=["v", "w"]), "not of the same users"),
        (series([1.0, 0.0]), series([1.0, np.nan]), "must be finite"),
        (series([1.0]), series([1.0]), "at least two users"),
    ],
)
def test_what_cannot_be_ordered_is_refused(quality, uncertainty, message):
    with pytest.raises(ValueError, match=message):
        aurc([quality], [uncertainty])


def test_bad_arguments_of_the_area():
    one = series([1.0, 0.0])
    with pytest.raises(TypeError, match="must be lists"):
        aurc(one, one)
    with pytest.raises(ValueError, match="at least one seed"):
        aurc([], [])
    with pytest.raises(ValueError, match="equally many seeds"):
        aurc([one], [one, one])
    with pytest.raises(ValueError, match="equally many seeds"):
        aurc([one], [one], groups=[one, one])
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
        aurc([one], [one], confidence=3)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([series([0, 0, 1]).iloc[:2]], ValueError, "user 'u2' has no group"),
        ([series([0, np.nan, 1])], ValueError, "user 'u1' has no group"),
        ([series([3, 1, 2])], ValueError, "a group of their own"),
        (series([0, 0, 1]), TypeError, "must be lists"),
        ([np.array([0, 0, 1])], TypeError, "must be lists"),
    ],
)
def test_bad_groups(groups, error, message):
    one = series([1.0, 0.0, 0.5])
    with pytest.raises(error, match=message):
        aurc([one], [one], groups=groups)


def test_seeds_of_other_users_are_refused():
    one, other = series([1.0, 0.0]), pd.Series([1.0, 0.0], index=["v", "w"])
    with pytest.raises(ValueError, match="the same with every seed"):
        aurc([one, other], [one, other])


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

    def test_follows_its_definition(self, split, histories):
        model = make(br.models.BAMF, histories, user_scores=br.Scores(br.LogNormal(1.0)))
        posterior = br.Posterior(model, draws=9)
        row = list_uncertainty(posterior, split, k=4, shortlist=20).iloc[2]
        user = histories.user_codes([row.name])
        known = split.items_by_user("train", "validation").row(int(user)).numpy()
        fresh = torch.from_numpy(np.setdiff1d(np.arange(histories.n_items), known))
        score = model.score(user, fresh[None])[0]
        short = fresh[score.argsort(descending=True)[:20]]
        drawn = posterior.draw_logits(user, short[None])[:, 0].numpy()
        away = [np.mean([place not in np.argsort(-one)[:4] for place in range(4)]) for one in drawn]
        assert row["disagreement"] == pytest.approx(np.mean(away), abs=1e-6)
        assert 0 < row["disagreement"] < 1
        assert row["spread"] == pytest.approx(drawn[:, :4].std(0, ddof=1).mean(), rel=1e-5)
        doubt = 1 - (1 / (1 + np.exp(-drawn[:, :4]))).mean()
        assert row["doubt"] == pytest.approx(doubt, rel=1e-5)

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
        with pytest.raises(TypeError, match="not EASE"):
            list_uncertainty(br.baselines.EASE(split), split)
        empty = br.data.split(split.interactions, ratio=(9, 1, 0))
        model = make(br.models.BAMF, br.data.histories(empty))
        with pytest.raises(ValueError, match="no user has an item in the test part"):
            list_uncertainty(model, empty)


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
        torch.testing.assert_close(score.exp(), each.double().sigmoid().mean(0))
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

    def test_a_draw_is_one_network(self, histories):
        """The same pair has the same logit wherever it stands, and of a linear layer's entries half are
        dropped for all."""
        model = make(br.models.BAMF, histories, user_scores=br.Point(), dropout=0.5)
        dropout = br.MCDropout(model, draws=40)
        drawn = dropout.draw_logits(torch.tensor([3, 5, 3]), torch.tensor([[1, 2, 1]] * 3))
        torch.testing.assert_close(drawn[:, :, 0], drawn[:, :, 2], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(drawn[:, 0], drawn[:, 2], rtol=1e-5, atol=1e-6)
        alone = dropout.draw_logits(torch.tensor([3]), torch.tensor([[2]]))
        torch.testing.assert_close(drawn[:, 0, 1], alone[:, 0, 0])

    def test_dropout_of_candidates_is_refused(self, histories):
        class OfCandidates(br.models.GMF):
            def __init__(self, histories, *, embedding_dim=32):
                super().__init__(histories, embedding_dim=embedding_dim)
                self.dropout = torch.nn.Dropout(0.5)

            def logits(self, batch, contexts):
                return self.dropout(super().logits(batch, contexts))

        model = make(OfCandidates, histories)
        model.score = lambda user, item: torch.cat(
            [br.models.Model.score(model, user, part) for part in item.split([2, 1], dim=1)], dim=1
        )
        with pytest.raises(ValueError, match="of 2 outputs in one place and of 1 in another"):
            br.MCDropout(model).draw_logits(self.user, self.item)

    def test_bamfs_dropout_keeps_the_mean(self, histories):
        """Its logit is linear in what is dropped."""
        model = make(br.models.BAMF, histories, user_scores=br.Point(), dropout=0.3)
        drawn = br.MCDropout(model, draws=4000).draw_logits(self.user, self.item)
        error = drawn.std(0) / 4000**0.5
        assert ((drawn.mean(0) - model.score(self.user, self.item)).abs() < 4 * error).all()

    def test_dropout_must_be_there(self, histories):
        with pytest.raises(ValueError, match="no dropout"):
            br.MCDropout(make(br.models.BAMF, histories))
        with pytest.raises(TypeError, match="a model is needed, not Histories"):
            br.MCDropout(histories)
        with pytest.raises(ValueError, match="draws must be a whole number of at least 1"):
            br.MCDropout(make(br.models.MLP, histories, dropout=0.5), draws=0)

    def test_parts_in_evaluation_mode_stay_so(self, histories):
        model = make(br.models.MLP, histories, dropout=0.5).train()
        model.match.eval()
        br.MCDropout(model).draw_logits(self.user, self.item)
        br.draw(model, self.user, self.item, draws=1)
        assert model.training
        assert not model.match.training


def test_ablations_are_further_predictives(split, tmp_path):
    way = replace(settings.TUNED["BAMF"], training=br.Training(max_epochs=1))
    study = uncertainty.Study(way, 2, tmp_path, ablations=True)
    found = study.predictives(split, 0)
    mode = found["scores at their mode"].model
    user, item = torch.tensor([0]), torch.tensor([[1, 2, 3]])
    spreads = [
        br.Posterior(mode, source=source).draw_logits(user, item).std(0).max()
        for source in ("posterior", "prior")
    ]
    assert spreads[0] < 0.05 * spreads[1]
    assert len(found["ensemble of 2, random scores"].models) == 2
    sizes = [sum(p.numel() for p in found[n].model.parameters()) for n in found if "times" in n]
    twin = sum(p.numel() for p in found["no random scores"].model.parameters())
    assert 1.9 * twin < sizes[0] < 2.5 * twin
