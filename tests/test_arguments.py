"""Objects given for others: the message says what is needed, and where it is."""

import pandas as pd
import pytest

import bayes_recsys as br


@pytest.fixture
def fit(split, histories):
    training = br.Training(max_epochs=1)
    return br.fit(br.models.GMF(histories), split, training=training, progress=False)


@pytest.mark.parametrize("function", [br.data.split, br.data.leave_one_out, br.data.timeline])
def test_what_is_split_are_interactions(function, synthetic, split):
    with pytest.raises(TypeError, match=r"is needed, not Synthetic; give its \.interactions"):
        function(synthetic)
    with pytest.raises(TypeError, match=r"from_frame or data\.load\) is needed, not DataFrame$"):
        function(pd.DataFrame({"user": [1], "item": [2]}))
    with pytest.raises(TypeError, match=r"not Split; give its \.interactions"):
        function(split)


def test_histories_are_of_a_split(synthetic):
    with pytest.raises(
        TypeError, match=r"a split \(data\.split\(\.\.\)\) is needed, not Interactions"
    ):
        br.data.histories(synthetic.interactions)


def test_a_fit_is_not_its_model(fit, split, tmp_path):
    calls = [
        lambda: br.evaluate(fit, split),
        lambda: br.recommend(fit, ["3"]),
        lambda: br.predictive_nll(fit, split),
        lambda: br.save_model(fit, tmp_path / "model"),
        lambda: br.DeepEnsemble([fit, fit]),
        lambda: br.MCDropout(fit),
        lambda: br.Posterior(fit),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"not Fit; give its \.model"):
            call()
    with pytest.raises(TypeError, match=r"a split .* is needed, not Interactions"):
        br.evaluate(fit.model, split.interactions)
