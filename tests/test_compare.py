"""Paired comparison against scipy's tests and simulations with known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayes_recsys as br
from bayes_recsys.evaluation import Evaluation
from bayes_recsys.evaluation.comparison import crossed_mean, holm


def evaluation(values, users=None, protocol="full"):
    index = pd.Index(users if users is not None else [str(u) for u in range(len(values))])
    per_user = pd.DataFrame({"ndcg@10": values}, index)
    return Evaluation(protocol, "test", per_user, pd.DataFrame(), cases="the same")


def differences(rng, n_users, n_seeds, mean, of_user=0.1, of_seed=0.01, of_both=0.1):
    """They vary by user, seed, and both."""
    user, seed = rng.normal(0, of_user, n_users), rng.normal(0, of_seed, (n_seeds, 1))
    return mean + user + seed + rng.normal(0, of_both, (n_seeds, n_users))


def simulated(rng, n_users, n_seeds, mean):
    base = rng.uniform(size=(n_seeds, n_users))
    other = base + differences(rng, n_users, n_seeds, mean)
    return {"a": list(map(evaluation, base)), "b": list(map(evaluation, other))}


def test_one_seed_is_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(0)
    two = simulated(rng, 80, 1, 0.02)
    row = br.compare(two, against="a", confidence=0.9).loc["b"]
    a, b = (two[name][0].per_user["ndcg@10"].to_numpy() for name in "ab")
    theirs = stats.ttest_rel(b, a)
    interval = theirs.confidence_interval(0.9)
    assert row["difference"] == pytest.approx((b - a).mean())
    assert row["difference_low"] == pytest.approx(interval.low)
    assert row["difference_high"] == pytest.approx(interval.high)
    assert row["p"] == pytest.approx(theirs.pvalue)
    test = stats.permutation_test(
        (b - a,), np.mean, permutation_type="samples", n_resamples=9999, rng=rng
    )
    assert row["p"] == pytest.approx(test.pvalue, abs=0.02)


def test_degrees_of_freedom_are_no_fewer_than_the_fewer():
    rng = np.random.default_rng(0)
    for n_seeds, n_users in ((3, 4), (5, 20), (4, 2)):
        found = [crossed_mean(rng.normal(size=(n_seeds, n_users)))[2] for _ in range(500)]
        assert min(found) >= min(n_seeds, n_users) - 1
        assert max(found) <= n_seeds * n_users


def test_the_standard_error_of_two_crossed_samples_is_that_of_repeating_them():
    """Over many such studies the mean of the estimated variance is the variance of the mean."""
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(3000):
        mean, error, _ = crossed_mean(differences(rng, 30, 6, 0.0, 1.0, 0.3, 0.5))
        means.append(mean)
        errors.append(error)
    true = 1 / 30 + 0.09 / 6 + 0.25 / 180
    assert np.var(means) == pytest.approx(true, rel=0.1)
    assert np.mean(np.square(errors)) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize(("n_users", "n_seeds"), [(20, 1), (100, 1), (100, 3), (100, 5), (40, 20)])
@pytest.mark.parametrize("mostly", ["of_user", "of_seed", "of_both", None])
def test_intervals_miss_the_truth_no_more_often_than_they_say(n_users, n_seeds, mostly):
    """Whatever it is that varies most; and as often if it is users or seeds. One seed cannot tell how much
    seeds matter: there they do not."""
    spread = {"of_user": 0.05, "of_seed": 0.05, "of_both": 0.05}
    if mostly:
        spread[mostly] = 0.3
    if n_seeds == 1:
        spread["of_seed"] = 0.0
    rng = np.random.default_rng(1)
    missed = []
    for _ in range(1000):
        mean, error, freedom = crossed_mean(differences(rng, n_users, n_seeds, 0.03, **spread))
        missed.append(abs(mean - 0.03) > error * stats.t.ppf(0.975, freedom))
    assert np.mean(missed) <= 0.085
    if mostly in ("of_user", "of_seed"):
        assert np.mean(missed) >= 0.03


@pytest.mark.parametrize("overlap", [1 / 8, 1.0])
def test_splits_that_overlap_tell_less_than_new_data(overlap):
    """What seeds share, as of ``overlap / (1 + overlap)`` of their variance, none of them shows: intervals that know it
    hold the truth as often as they say, others do not."""
    rng, shared = np.random.default_rng(3), overlap / (1 + overlap)
    missed = {0.0: 0, overlap: 0}
    for _ in range(2000):
        of_all = rng.normal(0, 0.3 * shared**0.5)
        values = of_all + differences(rng, 100, 5, 0.0, 0.05, 0.3 * (1 - shared) ** 0.5, 0.05)
        for known in missed:
            mean, error, freedom = crossed_mean(values, known)
            missed[known] += abs(mean) > error * stats.t.ppf(0.975, freedom)
    assert missed[overlap] / 2000 == pytest.approx(0.05, abs=0.015)
    assert missed[0.0] / 2000 > 0.075


def test_degrees_of_freedom_are_satterthwaites():
    """By hand: two seeds and three users, mean squares 4 of users, 6 of seeds, 1 of the rest."""
    user, seed = np.array([-1.0, 0.0, 1.0]) * 2**0.5, np.array([[-1.0], [1.0]])
    rest = np.array([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]) / 2**0.5
    mean, error, freedom = crossed_mean(5 + user + seed + rest)
    assert mean == pytest.approx(5)
    assert error == pytest.approx(((4 + 6 - 1) / 6) ** 0.5)
    assert freedom == pytest.approx(9**2 / (4**2 / 2 + 6**2 / 1 + 1**2 / 2))


def test_equal_models_differ_in_nothing():
    same = evaluation(np.random.default_rng(0).uniform(size=30))
    row = br.compare({"a": same, "b": same}, against="a").loc["b"]
    assert row["p"] == 1
    assert row["difference"] == 0


def test_p_is_adjusted_for_all_comparisons_of_the_table():
    rng = np.random.default_rng(0)
    base = rng.uniform(size=100)
    many = {str(k): evaluation(base + rng.normal(0.01 * k, 0.1, 100)) for k in range(5)}
    table = br.compare(many, against="0")
    pd.testing.assert_series_equal(table["p_holm"], holm(table["p"]), check_names=False)
    assert (table["p_holm"] > table["p"]).any()


def test_p_and_interval_say_the_same():
    rng = np.random.default_rng(0)
    for shift in np.linspace(0, 0.6, 25):
        row = br.compare(simulated(rng, 15, 3, shift), against="a").loc["b"]
        holds_zero = row["difference_low"] <= 0 <= row["difference_high"]
        assert holds_zero == (row["p"] > 0.05)


def test_the_same_difference_for_every_user_is_certain():
    two = {"a": evaluation(np.zeros(5)), "b": evaluation(np.ones(5))}
    row = br.compare(two, against="a").loc["b"]
    assert row["p"] == 0
    assert row[["difference_low", "difference", "difference_high"]].tolist() == [1, 1, 1]


def test_holm_rejects_as_its_definition_does():
    """Step down: the smallest against α/n, the next against α/(n-1), until one is kept."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = pd.Series(rng.uniform(0, 0.1, 6))
        adjusted = holm(p)
        for alpha in (0.01, 0.05, 0.1, 0.2):
            rejected, going = set(), True
            for step, one in enumerate(p.sort_values().index):
                going = going and p[one] <= alpha / (6 - step)
                if going:
                    rejected.add(one)
            assert set(adjusted.index[adjusted <= alpha]) == rejected


@pytest.mark.parametrize(
    ("evaluations", "options", "message"),
    [
        ({"a": evaluation([1.0])}, {"against": "a"}, "at least two users"),
        ({"a": evaluation([1.0, np.nan])}, {"against": "a"}, "must be finite"),
        ({"a": evaluation([1.0, 0.0])}, {"against": "a", "confidence": 95}, "confidence must be"),
        ({"a": evaluation([1.0, 0.0])}, {"against": "a", "overlap": -1}, "overlap must be"),
        ({"a": evaluation([1.0])}, {"against": "b"}, "against='b' is none of 'a'"),
        ({"a": evaluation([1.0])}, {"against": "a", "metric": "hr@1"}, "no 'hr@1'"),
        (
            {"a": evaluation([1.0]), "b": [evaluation([1.0])] * 2},
            {"against": "a"},
            "give one for each seed",
        ),
        (
            {"a": evaluation([1.0]), "b": evaluation([1.0], protocol="sampled")},
            {"against": "a"},
            "'b' is of sampled ranking",
        ),
        (
            {"a": evaluation([1.0], ["u"]), "b": evaluation([1.0], ["v"])},
            {"against": "a"},
            "same users",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(evaluations, options, message):
    with pytest.raises(ValueError, match=message):
        br.compare(evaluations, **options)


class TestCases:
    """What is paired must have ranked the same."""

    @pytest.fixture
    def splits(self, synthetic):
        return [br.data.split(synthetic.interactions, seed=seed) for seed in (0, 1)]

    def of(self, scorer, splits, **options):
        return [br.evaluate(scorer(split), split, **options) for split in splits]

    def test_those_of_the_same_splits_are_compared(self, splits):
        for protocol in ("full", "sampled"):
            popularity = self.of(br.baselines.Popularity, splits, protocol=protocol)
            ease = self.of(br.baselines.EASE, splits, protocol=protocol)
            br.compare({"a": popularity, "b": ease}, against="a")

    @pytest.mark.parametrize("other", ["order", "split", "candidates"])
    def test_others_are_refused(self, other, splits, synthetic):
        popularity = self.of(br.baselines.Popularity, splits, protocol="sampled")
        if other == "order":
            ease = self.of(br.baselines.EASE, splits[::-1], protocol="sampled")
        elif other == "split":
            others = [br.data.split(synthetic.interactions, ratio=(7, 1, 2)), splits[1]]
            ease = self.of(br.baselines.EASE, others, protocol="sampled")
        else:
            ease = self.of(br.baselines.EASE, splits, protocol="sampled", seed=1)
        with pytest.raises(ValueError, match=r"the same cases \(evaluation 0"):
            br.compare({"a": popularity, "b": ease}, against="a")

    def test_names_are_needed(self, splits):
        with pytest.raises(TypeError, match="by name"):
            br.compare(self.of(br.baselines.Popularity, splits), against="a")
