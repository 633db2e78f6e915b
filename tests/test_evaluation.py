"""Rankings as a whole: ties, intervals, reports, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import ndcg_score

import bayes_recsys as br
from bayes_recsys.evaluation import Evaluation, evaluate_pairs, predicted_pairs
from bayes_recsys.evaluation.protocols import cases
from tests.conftest import Tied, make


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


def test_lists_of_an_evaluation_cover_the_catalogue(split):
    everyone_alike = br.evaluate(br.baselines.Popularity(split), split, ks=(5,)).catalogue
    own = br.evaluate(Oracle(split), split, ks=(5,)).catalogue
    assert everyone_alike.loc[5, "coverage"] < own.loc[5, "coverage"]
    assert everyone_alike.loc[5, "gini"] > own.loc[5, "gini"]


def test_a_split_the_model_was_not_made_from_is_refused(synthetic, histories):
    with pytest.raises(ValueError, match="outside this split's training part"):
        br.evaluate(br.models.BAMF(histories), br.data.split(synthetic.interactions, seed=5))


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
        ({"protocol": "half"}, "protocol must be 'full' or 'sampled'"),
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
        (lambda split: (object(), split), r"which has score\(user, item\), is needed, not object"),
        (
            lambda split: (Constant(), split.interactions),
            r"a split \(data.split\(..\)\) is needed, not Interactions",
        ),
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


def test_what_no_list_was_measured_of_is_printed_too(split, histories):
    model = make(br.models.GMF, histories)
    pairs = evaluate_pairs(predicted_pairs(model, split))
    assert "pairs of the test part" in repr(pairs)
    assert "nll" in repr(pairs)
    ranked = br.evaluate(model, split, ks=(5, 10))
    doubt = pd.DataFrame({"doubt": 0.25, "gain@10": 0.5}, ranked.per_user.index)
    printed = repr(ranked.joined(doubt)).splitlines()
    assert printed[0].startswith("full ranking of the test part")
    assert sum(line.startswith(("doubt", "gain", "ndcg")) for line in printed) == 3


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


class TestFile:
    def test_comes_back(self, split, tmp_path):
        found = br.evaluate(Tied(split), split, ks=(5, 10))
        found.save(tmp_path / "new" / "e.json")
        loaded = Evaluation.load(tmp_path / "new" / "e.json")
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["e.json"]
        pd.testing.assert_frame_equal(loaded.per_user, found.per_user, check_exact=True)
        pd.testing.assert_frame_equal(loaded.catalogue, found.catalogue, check_exact=True)
        assert (loaded.protocol, loaded.part) == ("full", "test")
        assert loaded.cases == found.cases
        assert br.compare({"a": found, "b": loaded}, against="a").loc["b", "p"] == 1

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 0}', '{"format": 1}'])
    def test_what_is_none_is_refused(self, text, tmp_path):
        (tmp_path / "e.json").write_text(text)
        with pytest.raises(ValueError, match=r"e\.json: (damaged|not a)"):
            Evaluation.load(tmp_path / "e.json")
        with pytest.raises(ValueError, match=r"none\.json: no such file"):
            Evaluation.load(tmp_path / "none.json")


def test_metrics_of_the_same_users_can_be_joined(split):
    found = br.evaluate(Tied(split), split, ks=(5,))
    more = pd.DataFrame({"luck": range(len(found.per_user))}, found.per_user.index)
    joined = found.joined(more.sample(frac=1, random_state=0))
    assert joined.per_user["luck"].tolist() == more["luck"].tolist()
    assert joined.cases == found.cases
    with pytest.raises(ValueError, match="not of the users of this evaluation"):
        found.joined(more.iloc[1:])


def test_pairs_are_an_evaluation_that_can_be_compared(split, histories):
    one, other = (make(br.models.BAMF, histories, size=s) for s in (0.3, 0.5))
    of = [evaluate_pairs(predicted_pairs(m, split, seed=1)) for m in (one, other)]
    nll = br.predictive_nll(one, split, seed=1)
    np.testing.assert_allclose(of[0].per_user["nll"], nll, rtol=1e-6)
    assert of[0].per_user.index.tolist() == nll.index.tolist()
    table = br.compare({"a": of[0], "b": of[1]}, "brier", against="a")
    assert table.loc["b", "p"] < 1
    others = evaluate_pairs(predicted_pairs(other, split, seed=2))
    with pytest.raises(ValueError, match="did not rank the same cases"):
        br.compare({"a": of[0], "b": others}, "nll", against="a")
