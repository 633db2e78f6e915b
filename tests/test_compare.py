"""Paired comparison against scipy's bootstrap and simulations with known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayes_recsys as br
from bayes_recsys.evaluation import Evaluation
from bayes_recsys.evaluation.compare import holm


def evaluation(values, users=None, protocol="full"):
    index = pd.Index(users if users is not None else [str(u) for u in range(len(values))])
    return Evaluation(protocol, "test", pd.DataFrame({"ndcg@10": values}, index), pd.DataFrame())


def simulated(rng, n_users, n_seeds, difference, of_seed=0.01):
    """Two models whose difference varies by user, seed, and both."""
    user, seed = rng.normal(0, 0.1, n_users), rng.normal(0, of_seed, (n_seeds, 1))
    base = rng.uniform(size=(n_seeds, n_users))
    apart = difference + user + seed + rng.normal(0, 0.1, (n_seeds, n_users))
    return {"a": list(map(evaluation, base)), "b": list(map(evaluation, base + apart))}


def test_one_seed_is_the_paired_bootstrap_of_scipy():
    rng = np.random.default_rng(0)
    two = simulated(rng, 80, 1, 0.02)
    row = br.compare(two, against="a").loc["b"]
    a, b = (two[name][0].per_user["ndcg@10"].to_numpy() for name in "ab")
    theirs = stats.bootstrap((b - a,), np.mean, method="percentile", rng=rng).confidence_interval
    assert row["difference"] == pytest.approx((b - a).mean())
    assert row["difference_low"] == pytest.approx(theirs.low, abs=0.003)
    assert row["difference_high"] == pytest.approx(theirs.high, abs=0.003)
    test = stats.permutation_test(
        (b - a,), np.mean, permutation_type="samples", n_resamples=9999, rng=rng
    )
    assert row["p"] == pytest.approx(test.pvalue, abs=0.02)


@pytest.mark.parametrize(("n_users", "n_seeds"), [(20, 1), (100, 1), (100, 5), (40, 20)])
def test_intervals_hold_the_truth_and_p_is_honest(n_users, n_seeds):
    """Users matter most, as in practice; the truth is a difference of 0.03. One seed cannot tell how
    much seeds matter: there they do not."""
    of_seed = 0.01 if n_seeds > 1 else 0.0
    rng = np.random.default_rng(1)
    held, rejected = [], []
    for _ in range(300):
        table = br.compare(
            simulated(rng, n_users, n_seeds, 0.03, of_seed), against="a", resamples=1000
        )
        row = table.loc["b"]
        held.append(row["difference_low"] <= 0.03 <= row["difference_high"])
        null = simulated(rng, n_users, n_seeds, 0.0, of_seed)
        rejected.append(br.compare(null, against="a", resamples=1000).loc["b", "p"] < 0.05)
    assert 0.92 <= np.mean(held) <= 0.99
    assert np.mean(rejected) <= 0.085


def test_equal_models_differ_in_nothing():
    same = evaluation(np.random.default_rng(0).uniform(size=30))
    row = br.compare({"a": same, "b": same}, against="a").loc["b"]
    assert row["p"] == 1
    assert row["difference"] == 0


def test_p_is_adjusted_for_all_comparisons_of_the_table():
    rng = np.random.default_rng(0)
    base = rng.uniform(size=100)
    many = {str(k): evaluation(base + rng.normal(0.01 * k, 0.1, 100)) for k in range(5)}
    table = br.compare(many, against="0", resamples=2000)
    pd.testing.assert_series_equal(table["p_holm"], holm(table["p"]), check_names=False)
    assert (table["p_holm"] > table["p"]).any()


def test_few_users_have_the_interval_of_student():
    values = np.random.default_rng(0).normal(size=12)
    two = {"a": evaluation(np.zeros(12)), "b": evaluation(values)}
    row = br.compare(two, against="a").loc["b"]
    half = stats.t.ppf(0.975, 11) * values.std(ddof=1) / 12**0.5
    assert row["difference_high"] - row["difference_low"] == pytest.approx(2 * half, rel=0.08)
    assert row["p"] == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.05)


def test_p_and_interval_say_the_same():
    rng = np.random.default_rng(0)
    for shift in np.linspace(0, 0.6, 25):
        two = {"a": evaluation(np.zeros(15)), "b": evaluation(rng.normal(shift, 1, 15))}
        row = br.compare(two, against="a", resamples=4000).loc["b"]
        if abs(row["p"] - 0.05) > 0.005:
            holds_zero = row["difference_low"] <= 0 <= row["difference_high"]
            assert holds_zero == (row["p"] > 0.05)


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
