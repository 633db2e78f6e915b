"""Probabilities against cross entropy, simulations with known truth, and other estimators."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

import bayes_recsys as br
from bayes_recsys.evaluation import (
    balanced,
    brier,
    calibration_error,
    calibration_floor,
    corrected,
    predicted_pairs,
    recalibrated,
    reliability,
)
from bayes_recsys.posterior.predictive import Predictive
from tests.conftest import make


class Sure(Predictive):
    """That every item is chosen, in both draws."""

    def __init__(self, model):
        self.model = model

    def draw_logits(self, user, item):
        return torch.full((2, *item.shape), 40.0)

    def score(self, user, item):
        return self.draw_logits(user, item)[0]


def codes(histories, ids):
    """Codes of item ids, of which some come again."""
    of_id = {text: code for code, text in enumerate(histories.item_ids.tolist())}
    return torch.tensor([of_id[one] for one in ids])


class TestPredictiveNll:
    def test_of_a_deterministic_model_is_the_cross_entropy(self, split, histories):
        model = make(br.models.BAMF, histories, user_scores=br.Point())
        nll = br.predictive_nll(br.Posterior(model, draws=2), split, negatives=3, seed=5)
        assert len(nll) == int((split.items_by_user("test").lengths > 0).sum())
        pairs = predicted_pairs(model, split, negatives=3, seed=5)
        pairs = pairs[pairs["user"] == nll.index[4]]
        assert len(pairs) == 4 * len(split.items_by_user("test").row(int(nll.index[4])))
        user, item = histories.user_codes([nll.index[4]]), codes(histories, pairs["item"])
        logits = model.score(user, item[None])[0]
        label = torch.tensor(pairs["label"].tolist()).float()
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, label)
        assert nll.iloc[4] == pytest.approx(expected.item(), rel=1e-5)

    def test_averages_probabilities_not_logarithms(self, split, histories):
        model = make(br.models.BAMF, histories, size=0.3)
        nll = br.predictive_nll(br.Posterior(model, draws=20), split).iloc[0]
        pairs = predicted_pairs(model, split)
        pairs = pairs[pairs["user"] == pairs["user"].iloc[0]]
        item, place = codes(histories, pairs["item"]).unique(return_inverse=True)
        user = histories.user_codes(pairs["user"].iloc[:1])
        draws = br.draw(model, user, item[None], draws=20).logits[:, 0, place]
        sign = torch.tensor(pairs["label"].tolist()) * 2 - 1
        expected = -(sign * draws).sigmoid().mean(0).log().mean()
        assert nll == pytest.approx(expected.item(), rel=1e-4)

    def test_some_positives_at_a_time_is_the_same(self, split, histories, monkeypatch):
        model = make(br.models.BAMF, histories)
        whole = br.predictive_nll(model, split)
        monkeypatch.setattr("bayes_recsys.evaluation.probability.AT_ONCE", 1)
        np.testing.assert_allclose(br.predictive_nll(model, split), whole, rtol=1e-12)

    def test_the_prior_predicts_worse_than_a_fitted_posterior(self, split, histories):
        torch.manual_seed(1)
        model = br.models.BAMF(histories, user_scores=br.Scores(prior=br.LogNormal(2.0)))
        training = br.Training(
            max_epochs=40,
            learning_rate=3e-2,
            average=0.0,
            patience=40,
            monitor=br.Monitor.as_published(),
        )
        br.fit(model, split, training=training, progress=False)
        posterior, prior = (
            br.predictive_nll(br.Posterior(model, source=source), split).mean()
            for source in ("posterior", "prior")
        )
        assert posterior < prior - 0.002

    def test_bad_arguments(self, split, histories):
        with pytest.raises(ValueError, match="source must be"):
            br.predictive_nll(br.Posterior(make(br.models.BAMF, histories), source="guide"), split)


def pairs_of(probability, label, user=None):
    columns = {"user": user, "label": label, "probability": probability}
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


class TestPredictedPairs:
    def test_parts_have_negatives_of_their_own(self, split, histories):
        model = make(br.models.BAMF, histories)
        test, validation = (
            {(row.user, row.item) for row in predicted_pairs(model, split, part=part).itertuples()}
            for part in ("test", "validation")
        )
        # As with other negatives by chance.
        other = {
            (row.user, row.item)
            for row in predicted_pairs(model, split, part="validation", seed=5).itertuples()
        }
        assert len(test & validation) < 1.5 * len(test & other)

    def test_are_the_held_out_positives_and_their_negatives(self, split, histories):
        pairs = predicted_pairs(make(br.models.BAMF, histories), split, negatives=3)
        train, test = split.items_by_user("train"), split.items_by_user("test")
        for user, of_user in pairs.groupby("user"):
            code = int(histories.user_codes([user]))
            item = histories.item_codes(of_user["item"])
            known = set(train.row(code).tolist())
            assert set(of_user["item"][of_user["label"] == 1]) == set(
                histories.item_ids[test.row(code).numpy()]
            )
            assert not known & set(item.tolist())
            assert (of_user["label"] == 0).sum() == 3 * (of_user["label"] == 1).sum()

    def test_likelihood_is_that_of_the_probability(self, split, histories):
        pairs = predicted_pairs(make(br.models.BAMF, histories), split)
        p, y = pairs["probability"], pairs["label"]
        expected = np.log(np.where(y == 1, p, 1 - p))
        np.testing.assert_allclose(pairs["log_likelihood"], expected, rtol=1e-6)
        sure = predicted_pairs(Sure(make(br.models.GMF, histories)), split)
        wrong = sure.loc[sure["label"] == 0, "log_likelihood"]
        assert (wrong < -36).all()  # 1 - p is no longer told from 0
        assert (wrong > -41).all()
        user = pairs["user"].iloc[-1]
        own = pairs["user"] == user
        assert brier(pairs)[user] == pytest.approx(brier_score_loss(y[own], p[own]))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"part": "train"}, "part must be"),
            ({"negatives": 0}, "negatives must be a whole number of at least 1"),
        ],
    )
    def test_bad_arguments(self, options, message, split, histories):
        with pytest.raises(ValueError, match=message):
            predicted_pairs(make(br.models.BAMF, histories), split, **options)

    def test_what_has_no_draws_is_refused(self, split):
        with pytest.raises(TypeError, match="not EASE"):
            br.predictive_nll(br.baselines.EASE(split), split)

    def test_an_empty_part_is_refused(self, synthetic):
        with pytest.warns(br.data.DataWarning):
            split = br.data.split(synthetic.interactions, ratio=(1, 1, 0.001))
        model = make(br.models.BAMF, br.data.histories(split))
        with pytest.raises(ValueError, match="no user has an item in the test part"):
            predicted_pairs(model, split)


class TestCalibration:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=40_000)
    uniform = rng.uniform(size=40_000)

    def test_reliability_lies_on_the_truth(self):
        """Frequencies are the squares of what is said."""
        curve = reliability(pairs_of(self.p, (self.uniform < self.p**2).astype(int)), bins=20)
        assert len(curve) == 20
        np.testing.assert_allclose(curve["observed"], curve["predicted"] ** 2, atol=0.04)

    @pytest.mark.parametrize("shift", [0.0, 0.05, 0.1, 0.2])
    def test_error_is_how_far_off_probabilities_are(self, shift):
        p = 0.3 + 0.4 * self.p
        error = calibration_error(pairs_of(p + shift, (self.uniform < p).astype(int)))
        assert error == pytest.approx(shift, abs=0.012)

    def test_floor_is_the_error_of_right_probabilities(self):
        p, uniform = self.p[:2000], self.uniform[:2000]
        right = calibration_error(pairs_of(p, (uniform < p).astype(int)))
        wrong = pairs_of(p, (uniform < p**2).astype(int))
        floor = calibration_floor(wrong)
        assert floor == pytest.approx(right, abs=0.01)
        assert calibration_error(wrong) > 5 * floor


class TestBalanced:
    """Half of the pairs are of one user, of whom probabilities are right; of the other 100 they are 0.2 too
    high."""

    def pairs(self, seed):
        rng = np.random.default_rng(seed)
        user = np.repeat([*range(1, 101), 0], [100] * 100 + [10_000])
        right = rng.uniform(0.1, 0.7, len(user))
        label = (rng.uniform(size=len(user)) < right).astype(int)
        return pairs_of(right + np.where(user, 0.2, 0.0), label, user)

    def test_all_users_have_as_many_pairs(self):
        pairs = self.pairs(0)
        alike = balanced(pairs, of_user=70, seed=1)
        assert (alike["user"].value_counts() == 70).all()
        assert alike["user"].nunique() == 101
        pd.testing.assert_frame_equal(alike, pairs.loc[alike.index])
        assert not alike.equals(balanced(pairs, of_user=70, seed=2))

    def test_error_is_that_of_a_users_pair(self):
        pairs = self.pairs(0)
        assert calibration_error(pairs) == pytest.approx(0.1, abs=0.015)
        assert calibration_error(balanced(pairs)) == pytest.approx(0.2 * 100 / 101, abs=0.015)

    def test_floor_knows_what_was_drawn_twice(self):
        """Labels of right probabilities are drawn for pairs, and pairs then for users."""
        rng = np.random.default_rng(0)
        p = rng.uniform(size=500)
        user = np.arange(500) // 10
        right = [
            calibration_error(balanced(pairs_of(p, (rng.uniform(size=500) < p).astype(int), user)))
            for _ in range(20)
        ]
        floor = calibration_floor(balanced(pairs_of(p, p > 0.5, user)), draws=20, seed=5)
        assert floor == pytest.approx(np.mean(right), rel=0.15)

    def test_recalibration_for_users_alike_is_better_for_users(self):
        pairs, other = self.pairs(0), self.pairs(1)
        as_it_is, of_pairs, of_users = (
            brier(one).mean()
            for one in (
                pairs,
                recalibrated(pairs, on=other),
                recalibrated(pairs, on=balanced(other)),
            )
        )
        assert of_users < of_pairs - 0.005 < as_it_is - 0.01
        mended = recalibrated(pairs, on=balanced(other))
        assert calibration_error(balanced(mended)) < 0.02

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="of_user must be at least 1"):
            balanced(self.pairs(0), of_user=0)


class TestRecalibrated:
    rng = np.random.default_rng(0)

    def pairs(self, wrong, n=20_000):
        right = self.rng.uniform(0.05, 0.95, n)
        label = (self.rng.uniform(size=n) < right).astype(int)
        return pairs_of(wrong(right), label), right

    @pytest.mark.parametrize(
        "wrong", [np.sqrt, lambda p: p**4, lambda p: np.round(p, 1), lambda p: p / 2]
    )
    def test_finds_the_right_probabilities_from_other_pairs(self, wrong):
        pairs, right = self.pairs(wrong)
        other, _ = self.pairs(wrong)
        mended = recalibrated(pairs, on=other)
        assert np.abs(mended["probability"] - right).mean() < 0.04
        assert calibration_error(mended) < 0.015
        picked = np.where(pairs["label"], mended["probability"], 1 - mended["probability"])
        np.testing.assert_allclose(mended["log_likelihood"], np.log(picked), rtol=1e-9)
        assert mended["label"].equals(pairs["label"])
        order = pairs["probability"].argsort()
        assert (np.diff(mended["probability"].iloc[order]) >= 0).all()

    def test_pools_what_stands_in_the_wrong_order(self):
        """Frequencies by hand: 0, then 1 and 0 and 1 and 0 in wrong order, then 1."""
        on = pairs_of(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), np.array([0, 1, 0, 1, 0, 1]))
        asked = pairs_of(np.array([0.0, 0.25, 0.45, 1.0]), np.array([0, 0, 1, 1]))
        mended = recalibrated(asked, on=on)
        np.testing.assert_allclose(mended["probability"], [1 / 8, 0.5, 0.5, 7 / 8])
        assert mended["log_likelihood"].iloc[0] == pytest.approx(np.log(7 / 8))

    @pytest.mark.parametrize(
        ("probability", "label", "message"),
        [
            ([], [], "on is empty"),
            ([0.1, np.nan], [0, 1], "between 0 and 1"),
            ([0.1, 1.2], [0, 1], "between 0 and 1"),
        ],
    )
    def test_what_cannot_be_fitted_is_refused(self, probability, label, message):
        good = pairs_of(np.array([0.2, 0.7]), np.array([0, 1]))
        with pytest.raises(ValueError, match=message):
            recalibrated(good, on=pairs_of(np.array(probability), np.array(label)))


class TestCorrected:
    def test_against_a_simulated_catalogue(self):
        """A logistic truth, a learner that sees positives and four sampled negatives for each, and its
        probabilities on the whole."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=400_000)
        y = rng.uniform(size=len(x)) < expit(-6 + 1.5 * x)
        positive = np.flatnonzero(y)
        negative = rng.choice(np.flatnonzero(~y), 4 * len(positive), replace=False)
        seen = np.concatenate([positive, negative])
        learner = LogisticRegression(C=1e6).fit(x[seen, None], y[seen])
        raw = learner.predict_proba(x[:, None])[:, 1]
        right = corrected(raw, negatives=4, prevalence=y.mean())
        assert raw.sum() > 10 * y.sum()
        assert right.sum() == pytest.approx(y.sum(), rel=0.03)
        truth = logit(expit(-6 + 1.5 * x))
        assert np.abs(logit(right) - truth).max() < 0.6

    def test_the_samplers_own_prevalence_changes_nothing(self):
        p = np.array([0.01, 0.3, 0.99])
        np.testing.assert_allclose(corrected(p, negatives=4, prevalence=0.2), p)

    @pytest.mark.parametrize("options", [{"negatives": 0, "prevalence": 0.5}, {"negatives": 1, "prevalence": 1.0}])  # fmt: skip
    def test_bad_arguments(self, options):
        with pytest.raises(ValueError, match=r"negatives must|prevalence must"):
            corrected(np.array([0.5]), **options)

    def test_what_is_no_probability_is_refused(self):
        with pytest.raises(ValueError, match="probability must"):
            corrected(np.array([0.5, 1.2]), negatives=4, prevalence=0.1)
