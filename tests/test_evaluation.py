"""Metrics against other libraries, protocols against sets, intervals against theory."""

import sys

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import torch
from sklearn.metrics import average_precision_score, ndcg_score
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

import bayes_recsys as br
from bayes_recsys.evaluation import metrics
from bayes_recsys.evaluation.protocols import cases, sampled

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
            (metrics.reciprocal_rank, retrieval_reciprocal_rank),
        ):
            assert ours(hits, n, k)[0] == pytest.approx(other(*theirs, top_k=k).item(), abs=1e-6)
        by_sklearn = ndcg_score(relevant[None].astype(int), score[None], k=k)
        assert metrics.ndcg(hits, n, k)[0] == pytest.approx(by_sklearn, abs=1e-6)
        whole = average_precision_score(relevant, score)
        assert metrics.average_precision(hits, n, 20)[0] == pytest.approx(whole, abs=1e-6)


class Tied:
    """Integer scores: most candidates tie."""

    def __init__(self, split):
        rng = np.random.default_rng(5)
        shape = split.interactions.n_users, split.interactions.n_items
        self.values = torch.from_numpy(rng.integers(0, 4, shape)).float()

    def score(self, user, item):
        return self.values[user].gather(1, item)


def test_evaluation_agrees_with_trec_eval_and_torchmetrics(monkeypatch):
    """Scores with ties, users without test items, fewer candidates than k: what ``evaluate`` reports for
    each user against two libraries that are given the lists it ranked."""
    rng = np.random.default_rng(0)
    # Too short to test; usual; hardly anything left to rank.
    lengths = [2] * 5 + [15] * 20 + [28] * 5
    rows = [(u, i) for u, n in enumerate(lengths) for i in rng.choice(30, n, replace=False)]
    data = br.data.from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    with pytest.warns(br.data.DataWarning, match="left out"):
        split = br.data.split(data, seed=0)
    seen = []

    def recorded(hits, n_relevant, ks):
        seen.append((hits, n_relevant))
        return metrics.all_metrics(hits, n_relevant, ks)

    module = sys.modules["bayes_recsys.evaluation.ranking"]
    monkeypatch.setattr(module, "all_metrics", recorded)
    ks = (1, 5, 10, 20)
    per_user = br.evaluate(Tied(split), split, ks=ks).per_user
    assert len(per_user) == 25
    candidates = {
        split.interactions.user_ids[u]: len(c) for u, c, _ in cases(split, "full", "test", 0)
    }
    assert min(candidates.values()) < 10
    ((hits, n_relevant),) = seen
    for user, row, n in zip(per_user.index, hits, n_relevant, strict=True):
        relevant = np.append(
            row, np.ones(n - row.sum(), dtype=bool)
        )  # those not in the list come last
        ranked = {f"d{i}": float(-i) for i in range(len(relevant))}
        qrel = {user: {f"d{i}": 1 for i in np.flatnonzero(relevant)}}
        for k in ks:
            run = {user: dict(list(ranked.items())[: min(k, len(row))])}
            trec = pytrec_eval.RelevanceEvaluator(
                qrel,
                {
                    f"success.{k}",
                    f"ndcg_cut.{k}",
                    f"P.{k}",
                    f"recall.{k}",
                    f"map_cut.{k}",
                    "recip_rank",
                },
            ).evaluate(run)[user]
            ours = per_user.loc[user]
            for name, theirs in (
                (f"hr@{k}", f"success_{k}"), (f"ndcg@{k}", f"ndcg_cut_{k}"), (f"precision@{k}", f"P_{k}"),
                (f"recall@{k}", f"recall_{k}"), (f"map@{k}", f"map_cut_{k}"), (f"mrr@{k}", "recip_rank"),
            ):  # fmt: skip
                assert ours[name] == pytest.approx(trec[theirs], abs=1e-6)
            scores = torch.arange(len(relevant), 0, -1).float(), torch.from_numpy(relevant)
            for name, function in (
                ("hr", retrieval_hit_rate),
                ("ndcg", retrieval_normalized_dcg),
                ("precision", retrieval_precision),
                ("recall", retrieval_recall),
                ("mrr", retrieval_reciprocal_rank),
            ):
                theirs = function(*scores, top_k=k).item()
                assert ours[f"{name}@{k}"] == pytest.approx(theirs, abs=1e-6)


def test_ties_get_their_expectation(split):
    """The mean over tie-breaks is scikit-learn's NDCG, which averages over them."""
    tied = Tied(split)
    ours = np.mean(
        [br.evaluate(tied, split, ks=(5,), seed=s).per_user["ndcg@5"] for s in range(100)], axis=0
    )
    theirs = [
        ndcg_score(r[None].astype(int), tied.values[u, c].numpy()[None], k=5)
        for u, c, r in cases(split, "full", "test", 0)
    ]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.005)
    assert np.abs(ours - theirs).max() < 0.2


def test_novelty_coverage_and_gini_against_loops():
    top = np.array([[0, 1, 2], [1, 0, 3], [1, 4, -1]])
    counts, n_users, n_items = np.array([9, 3, 0, 1, 4, 2]), 9, 6
    for k in (1, 2, 3):
        lists = [[i for i in row[:k] if i >= 0] for row in top]
        bits = [np.mean([-np.log2((counts[i] + 1) / 10) for i in row]) for row in lists]
        np.testing.assert_allclose(metrics.novelty(top, counts, n_users, k), bits)
        flat = [i for row in lists for i in row]
        assert metrics.coverage(top, n_items, k) == len(set(flat)) / n_items
        often = np.array([flat.count(i) for i in range(n_items)], float)
        apart = np.abs(often[:, None] - often).mean() / (2 * often.mean())
        assert metrics.gini(top, n_items, k) == pytest.approx(apart)


def test_lists_of_an_evaluation_cover_the_catalogue(split):
    everyone_alike = br.evaluate(br.baselines.Popularity(split), split, ks=(5,)).catalogue
    own = br.evaluate(Oracle(split), split, ks=(5,)).catalogue
    assert everyone_alike.loc[5, "coverage"] < own.loc[5, "coverage"]
    assert everyone_alike.loc[5, "gini"] > own.loc[5, "gini"]


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
    assert "coverage" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "half"}, "protocol must be one of full, sampled"),
        ({"part": "train"}, "part must be"),
        ({"ks": (0,)}, "ks must be"),
        ({"ks": 10}, "ks must be a sequence"),
        ({"ks": (5, 5)}, "ks must be a sequence of different"),
        ({"ks": (5.5,)}, "of different whole numbers"),
    ],
)
def test_bad_arguments_are_named(options, message, split):
    with pytest.raises(ValueError, match=message):
        br.evaluate(Constant(), split, **options)


def test_cut_offs_may_be_an_array(split):
    metrics = br.evaluate(Constant(), split, ks=np.array([3, 7])).per_user
    assert {"ndcg@3", "ndcg@7"} < set(metrics)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda split: (Constant, split), "Constant is a class"),
        (lambda split: (object(), split), r"a scorer has score\(user, item\); object has not"),
        (lambda split: (Constant(), split.interactions), "a split is needed .* not Interactions"),
    ],
)
def test_what_is_no_scorer_or_no_split_is_refused(given, message, split):
    with pytest.raises(TypeError, match=message):
        br.evaluate(*given(split))


def test_nan_scores_are_refused(split):
    class Broken:
        def score(self, user, item):
            return torch.full(item.shape, torch.nan)

    with pytest.raises(ValueError, match=r"score of item '\d+' for user '\d+' is NaN"):
        br.evaluate(Broken(), split)


@pytest.mark.parametrize("returned", [torch.zeros(3), np.zeros((1, 3))])
def test_scores_of_another_shape_are_refused(returned, split):
    class Broken:
        def score(self, user, item):
            return returned

    with pytest.raises(ValueError, match=r"must return a tensor \[G, C\]"):
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
