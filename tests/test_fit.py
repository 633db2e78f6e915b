"""Fitting, drawing, recommending, saving."""

import json
import sys

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.inference import ModelFolderError
from tests.cases import PUBLISHED_BAMF
from tests.conftest import make


def fit(histories, split, **options):
    torch.manual_seed(0)
    model = br.models.BAMF(histories, embedding_dim=8)
    options = {"max_epochs": 3, "learning_rate": 1e-2, "progress": False, **options}
    return br.fit(model, split, br.Bernoulli(2), **options)


class TestFit:
    def test_it_learns_what_is_there(self):
        """On data from the model, close to the truth and far above popularity."""
        synthetic = br.data.synthetic(seed=0)
        split = br.data.split(synthetic.interactions)
        torch.manual_seed(0)
        model = br.models.BAMF(br.data.histories(split), beta=1.0)
        br.fit(model, split, max_epochs=30, learning_rate=1e-2, progress=False)

        class Truth:
            def score(self, user, item):
                history = model.histories.history.row(int(user)).numpy()
                return torch.from_numpy(synthetic.logits(int(user), history)[item.numpy()])

        ndcg = {
            name: br.evaluate(scorer, split).per_user["ndcg@10"].mean()
            for name, scorer in {
                "model": model, "truth": Truth(), "popularity": br.baselines.Popularity(split)
            }.items()
        }  # fmt: skip
        assert ndcg["model"] > 2 * ndcg["popularity"]
        assert ndcg["model"] > 0.6 * ndcg["truth"]

    def test_history_and_best_weights(self, histories, split):
        result = fit(histories, split, max_epochs=6, patience=2)
        column = result.history["ndcg@10"]
        assert result.best_epoch == column.argmax() + 1
        again = br.evaluate(
            result.model, split, protocol="sampled", part="leave_one_out", ks=(10,)
        ).per_user["ndcg@10"]
        assert again.mean() == pytest.approx(column.max())
        assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
        assert (result.history["seconds"] > 0).all()

    def test_patience_stops(self, histories, split):
        result = fit(histories, split, learning_rate=1e-12, max_epochs=9, patience=2)
        assert result.stopped == "patience"
        assert len(result.history) == result.best_epoch + 2

    def test_ctrl_c_keeps_the_best_so_far(self, histories, split, monkeypatch):
        straight = fit(histories, split, max_epochs=2)
        calls = []

        def interrupted(*args, **kwargs):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return br.evaluate(*args, **kwargs)

        monkeypatch.setattr(sys.modules["bayes_recsys.inference.fit"], "evaluate", interrupted)
        result = fit(histories, split, max_epochs=9)
        assert result.stopped == "interrupted"
        assert len(result.history) == 2
        kept, expected = result.model.state_dict(), straight.model.state_dict()
        assert all(torch.equal(kept[k], expected[k]) for k in kept)

    def test_the_callers_random_state_is_left_alone(self, histories, split):
        torch.manual_seed(0)
        br.models.BAMF(histories, embedding_dim=8)
        expected = torch.rand(3)
        fit(histories, split, max_epochs=1)
        assert torch.equal(torch.rand(3), expected)

    def test_pairwise_learns(self, histories, split):
        torch.manual_seed(0)
        model = br.models.BAMF(histories, embedding_dim=8)
        likelihood = br.BradleyTerry(negatives=1, l2=0.01)
        result = br.fit(model, split, likelihood, max_epochs=12, learning_rate=1e-2, progress=False)
        assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]

    def test_a_warmed_up_objective_ends_at_its_weight(self, histories, split):
        """In the second epoch, after the rise, the loss is that of the constant weight."""
        model = br.models.BAMF(histories, user_scores=br.Scores(br.LogNormal(0.1)))
        losses = [
            br.fit(
                model, split, max_epochs=2, learning_rate=1e-12, kl_weight=weight, progress=False
            ).history["loss"].iloc[1]
            for weight in (0.5, br.LinearWarmup(0.5, 1), br.LinearWarmup(0.5, 9))
        ]  # fmt: skip
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
        assert losses[2] < losses[0] - 0.01

    @pytest.mark.parametrize("schedule", [br.LinearWarmup, br.CyclicWarmup])
    def test_bad_schedules(self, schedule):
        with pytest.raises(ValueError, match="weight must be positive"):
            schedule(0.0, 3)
        with pytest.raises(ValueError, match=r"(epochs|period) must be positive"):
            schedule(1.0, 0)

    def test_scores_that_end_as_their_prior_are_reported(self, histories, split):
        model = br.models.BAMF(
            histories,
            user_scores=br.Scores(guide=br.Gamma(0.1), prior=br.Gamma(1.0)),
            item_scores=br.Scores(br.Weibull(0.5), br.LogNormal(0.5), scope="interaction"),
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        with pytest.warns(br.inference.CollapseWarning, match="user_attention, item_attention are"):
            br.fit(model, split, max_epochs=1, learning_rate=1e-12, progress=False)

    def test_divergence_is_an_error(self, histories, split):
        with pytest.raises(FloatingPointError, match="lower learning_rate"):
            fit(histories, split, learning_rate=1e4, max_epochs=20)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kl_weight": 0.0}, "kl_weight must be positive"),
            ({"kl_reduction": "max"}, "kl_reduction must be"),
            ({"negatives_exclude": "test"}, "negatives_exclude must be"),
            ({"max_epochs": 0}, "at least 1"),
        ],
    )
    def test_bad_arguments_are_named(self, options, message, histories, split):
        with pytest.raises(ValueError, match=message):
            fit(histories, split, **options)

    def test_a_split_without_validation_is_an_error(self, synthetic):
        split = br.data.split(synthetic.interactions, ratio=(9, 0, 1))
        with pytest.raises(ValueError, match="no leave-one-out item"):
            fit(br.data.histories(split), split)

    def test_histories_of_another_split_are_an_error(self, synthetic, split):
        other = br.data.split(synthetic.interactions, seed=9)
        with pytest.raises(ValueError, match="items outside this split's training part"):
            fit(br.data.histories(other), split)

    def test_histories_that_were_cut_are_known_by_their_audiences(self):
        """One item of each history can easily be in the training part of another split."""
        data = br.data.synthetic(n_users=3, n_items=12, length=(10, 11)).interactions
        cut = br.data.histories(br.data.split(data, seed=0), max_length=1)
        for seed in range(1, 6):
            with pytest.raises(ValueError, match="items outside this split's training part"):
                fit(cut, br.data.split(data, seed=seed))

    def test_frozen_parameters_stay(self, histories, split):
        torch.manual_seed(0)
        model = br.models.BAMF(histories, embedding_dim=8)
        model.item.weight.requires_grad_(False)
        item, user = model.item.weight.clone(), model.user.weight.clone()
        br.fit(model, split, max_epochs=1, progress=False)
        assert torch.equal(model.item.weight, item)
        assert not torch.equal(model.user.weight, user)

    @pytest.mark.parametrize("likelihood", [br.Bernoulli, br.BradleyTerry])
    def test_bad_likelihood(self, likelihood):
        with pytest.raises(ValueError, match="negatives must be a whole number of at least 1"):
            likelihood(negatives=0)
        assert likelihood(negatives=np.int64(2)).negatives == 2
        with pytest.raises(ValueError, match="l2 must not be negative"):
            br.BradleyTerry(l2=-1.0)
