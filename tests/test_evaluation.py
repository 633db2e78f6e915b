"""Metrics against other libraries, protocols against sets, intervals against theory."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize
from sklearn.metrics import average_precision_score, ndcg_score
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
)

import bayes_recsys as br
from bayes_recsys.evaluation import metrics
from bayes_recsys.evaluation.protocols import cases, sampled
from tests.conftest import make

RNG = np.random.default_rng(0)


def ranking(n, n_relevant):
    """Random scores without ties, relevance, and the hits in order of score."""
    score, relevant = 1.0 + RNG.permutation(n), np.zeros(n, dtype=bool)
    relevant[RNG.choice(n, n_relevant, replace=False)] = True
    return score, relevant, relevant[np.argsort(-score)][None]


@pytest.mark.parametrize("n_relevant", [1, 3, 15])
@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_metrics_agree_with_torchmetrics_and_sklearn(n_relevant, k):
    for _ in range(20):
        score, relevant, hits = ranking(20, n_relevant)
        n = np.array([n_relevant])
        theirs = torch.from_numpy(score), torch.from_numpy(relevant)
        for ours, other in (
            (metrics.hit_rate, retrieval_hit_rate),
            (metrics.precision, retrieval_precision),
            (metrics.recall, retrieval_recall),
            (metrics.ndcg, retrieval_normalized_dcg),
        ):
            assert ours(hits, n, k)[0] == pytest.approx(other(*theirs, top_k=k).item(), abs=1e-6)
        by_sklearn = ndcg_score(relevant[None].astype(int), score[None], k=k)
        assert metrics.ndcg(hits, n, k)[0] == pytest.approx(by_sklearn, abs=1e-6)
        whole = average_precision_score(relevant, score)
        assert metrics.average_precision(hits, n, 20)[0] == pytest.approx(whole, abs=1e-6)


def test_average_precision_by_hand():
    hits = np.array([[True, False, True, False], [False, False, False, True]])
    n = np.array([3, 1])
    np.testing.assert_allclose(metrics.average_precision(hits, n, 3), [(1 + 2 / 3) / 3, 0])
    np.testing.assert_allclose(metrics.average_precision(hits, n, 4), [(1 + 2 / 3) / 3, 1 / 4])


@pytest.mark.parametrize("part", ["test", "validation", "leave_one_out"])
def test_full_masks_what_is_known_and_nothing_else(part, split):
    wanted = split.items_by_user(part)
    users = []
    known = {"test": ["train", "validation"], "validation": ["train"]}
    known = split.items_by_user(*known.get(part, ["train", "validation"]))
    for user, candidates, relevant in cases(split, "full", part, seed=0):
        users.append(user)
        positives = set(wanted.row(user).tolist())
        assert set(candidates[relevant].tolist()) == positives
        others = set(known.row(user).tolist()) - positives
        assert set(candidates.tolist()) == set(range(split.interactions.n_items)) - others
    assert users == wanted.lengths.nonzero()[:, 0].tolist()


def test_sampled_draws_untouched_items_without_repeats(split):
    everything = split.items_by_user()
    for user, candidates, relevant in sampled(split, "test", negatives=20, seed=0):
        assert len(set(candidates.tolist())) == len(candidates)
        touched = everything.row(user)
        assert not np.isin(candidates[~relevant], touched).any()
        untouched = split.interactions.n_items - len(touched)
        assert (~relevant).sum() == min(20 * relevant.sum(), untouched)


def test_sampled_lists_depend_on_seed_and_user_only(split):
    one, same, other = (list(sampled(split, "test", seed=s)) for s in (0, 0, 1))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_an_item_only_in_the_test_part_is_a_candidate():
    frame = pd.DataFrame({"user": np.repeat(range(12), 10), "item": np.tile(range(10), 12)})
    frame.loc[5, "item"] = 99
    data = br.data.from_frame(frame)
    seeds = (br.data.split(data, seed=s) for s in range(100))
    split = next(s for s in seeds if 10 in data.item[s.test])
    model = br.models.BAMF(br.data.histories(split))
    assert 10 not in data.item[split.train]
    candidates = next(c for user, c, relevant in cases(split, "full", "test", 0) if user == 0)
    assert 10 in candidates
    assert np.isfinite(br.evaluate(model, split).per_user.to_numpy()).all()


def test_the_ranking_that_stops_training_does_not_spare_test_items(split):
    test = split.items_by_user("test")
    drawn = [
        test.contains(torch.full((len(items),), user), torch.from_numpy(items)).any()
        for user, items, _ in sampled(split, "leave_one_out")
    ]
    assert np.mean(drawn) > 0.5


def test_a_split_the_model_was_not_made_from_is_refused(synthetic, histories):
    with pytest.raises(ValueError, match="outside this split's training part"):
        br.evaluate(br.models.BAMF(histories), br.data.split(synthetic.interactions, seed=5))


class Constant:
    def score(self, user, item):
        return torch.zeros(item.shape)


class Oracle:
    """Knows the test items."""

    def __init__(self, split):
        self.items = split.items_by_user("test")

    def score(self, user, item):
        return (
            self.items.contains(user[:, None].expand(item.shape).reshape(-1), item.reshape(-1))
            .reshape(item.shape)
            .float()
        )


@pytest.mark.parametrize("protocol", ["full", "sampled"])
def test_oracle_gets_everything_and_ties_get_chance(protocol, split):
    perfect = br.evaluate(Oracle(split), split, protocol=protocol, ks=(5,)).per_user
    for metric in ("hr@5", "ndcg@5"):
        assert (perfect[metric] == 1).all()
    precision = np.mean(
        [
            br.evaluate(Constant(), split, protocol=protocol, ks=(5,), seed=s)
            .per_user["precision@5"]
            .mean()
            for s in range(40)
        ]
    )
    chance = np.mean([r.mean() for _, _, r in cases(split, protocol, "test", seed=0)])
    assert precision == pytest.approx(chance, rel=0.2)


def test_fewer_candidates_than_k(split):
    result = br.evaluate(Oracle(split), split, ks=(500,)).per_user
    assert (result["recall@500"] == 1).all()
    assert (result["precision@500"] < 0.1).all()


def test_interval_agrees_with_theory(split):
    per_user = br.evaluate(br.baselines.Popularity(split), split, ks=(10,)).per_user
    summary = br.evaluate(br.baselines.Popularity(split), split, ks=(10,)).summary()
    error = per_user["ndcg@10"].sem()
    row = summary.loc["ndcg@10"]
    assert row["mean"] == pytest.approx(per_user["ndcg@10"].mean())
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_report_is_a_table(split):
    text = repr(br.evaluate(br.baselines.Popularity(split), split, ks=(5, 10)))
    assert "full ranking of the test part" in text
    assert "ndcg" in text
    assert "@10" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "half"}, "protocol must be one of full, sampled"),
        ({"part": "train"}, "part must be"),
        ({"ks": (0,)}, "ks must be"),
        ({"ks": 10}, "ks must be a tuple"),
    ],
)
def test_bad_arguments_are_named(options, message, split):
    with pytest.raises(ValueError, match=message):
        br.evaluate(Constant(), split, **options)


def test_nan_scores_are_refused(split):
    class Broken:
        def score(self, user, item):
            return torch.full(item.shape, torch.nan)

    with pytest.raises(ValueError, match=r"score of item '\d+' for user '\d+' is NaN"):
        br.evaluate(Broken(), split)


def test_popularity_on_real_data(latest_small):
    """0.362 at 1:99 and 0.122 over the catalogue on another split; splits and lists differ by 0.01."""
    split = br.data.split(latest_small, seed=0)
    popularity = br.baselines.Popularity(split)
    at = {
        p: br.evaluate(popularity, split, protocol=p).per_user["ndcg@10"].mean()
        for p in ("sampled", "full")
    }
    assert at["sampled"] == pytest.approx(0.362, abs=0.02)
    assert at["full"] == pytest.approx(0.122, abs=0.01)


class TestPredictiveNll:
    def test_of_a_deterministic_model_is_the_cross_entropy(self, split, histories):
        model = make(br.models.BAMF, histories, user_scores=br.Point())
        nll = br.predictive_nll(br.Posterior(model, draws=2), split, negatives=3, seed=5)
        assert len(nll) == int((split.items_by_user("test").lengths > 0).sum())
        user = int(nll.index[4])
        positive = split.items_by_user("test").row(user)
        negative = br.data.negative_sampler(split).draw(
            torch.full_like(positive, user), 3, np.random.default_rng([5, user])
        )
        item = torch.cat([positive, negative.flatten()])
        logits = model.score(torch.tensor([user]), item[None])[0]
        label = (torch.arange(len(item)) < len(positive)).float()
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, label)
        assert nll.iloc[4] == pytest.approx(expected.item(), rel=1e-5)

    def test_averages_probabilities_not_logarithms(self, split, histories):
        model = make(br.models.BAMF, histories, size=0.3)
        nll = br.predictive_nll(br.Posterior(model, draws=20), split).iloc[0]
        user = histories.user_codes([br.predictive_nll(model, split).index[0]])
        positive = split.items_by_user("test").row(int(user))
        rng = np.random.default_rng([0, int(user)])
        sampler = br.data.negative_sampler(split)
        negative = sampler.draw(user.expand(len(positive)), 4, rng).flatten()
        item = torch.cat([positive, negative])
        draws = br.draw(model, user, item[None], draws=20).logits[:, 0]
        sign = torch.where(torch.arange(len(item)) < len(positive), 1.0, -1.0)
        expected = -(sign * draws).sigmoid().mean(0).log().mean()
        assert nll == pytest.approx(expected.item(), rel=1e-4)

    def test_the_prior_predicts_worse_than_a_fitted_posterior(self, split, histories):
        torch.manual_seed(0)
        model = br.models.BAMF(histories, user_scores=br.Scores(prior=br.LogNormal(2.0)))
        br.fit(model, split, max_epochs=30, learning_rate=1e-2, progress=False)
        posterior, prior = (
            br.predictive_nll(br.Posterior(model, source=source), split).mean()
            for source in ("posterior", "prior")
        )
        assert posterior < prior

    def test_bad_arguments(self, split, histories):
        with pytest.raises(ValueError, match="source must be"):
            br.predictive_nll(br.Posterior(make(br.models.BAMF, histories), source="guide"), split)


class TestSlim:
    def test_minimises_its_objective(self, split):
        """Against a general-purpose bounded minimiser, for a few items."""
        slim = br.baselines.SLIM(split, l1=0.5, l2=2.0)
        Y = slim.rows.toarray()
        for item in (0, 3, 40):
            others = np.delete(np.arange(Y.shape[1]), item)

            def objective(w, item=item, others=others):
                rest = Y[:, item] - Y[:, others] @ w
                value = 0.5 * rest @ rest + 0.5 * w.sum() + w @ w
                return value, -Y[:, others].T @ rest + 0.5 + 2 * w

            best = optimize.minimize(
                objective, np.zeros(len(others)), jac=True, bounds=[(0, None)] * len(others)
            )
            ours = slim.weights[:, [item]].toarray()[:, 0]
            assert ours[item] == 0
            assert objective(ours[others])[0] == pytest.approx(best.fun, rel=1e-3)
            np.testing.assert_allclose(ours[others], best.x, atol=5e-3)

    def test_scores_are_sums_of_weights(self, split):
        slim = br.baselines.SLIM(split)
        own = split.items_by_user("train").row(4).numpy()
        score = slim.score(torch.tensor([4]), torch.tensor([[7, 9]]))[0]
        expected = slim.weights[own][:, [7, 9]].sum(0)
        np.testing.assert_allclose(score, expected, rtol=1e-5)

    def test_finds_structure(self, split):
        ndcg = {
            type(s).__name__: br.evaluate(s, split).per_user["ndcg@10"].mean()
            for s in (br.baselines.SLIM(split), br.baselines.Popularity(split))
        }
        assert ndcg["SLIM"] > ndcg["Popularity"]

    def test_bad_arguments(self, split):
        with pytest.raises(ValueError, match="l1 must be positive"):
            br.baselines.SLIM(split, l1=0.0)
