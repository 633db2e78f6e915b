"""Fitting: it learns, stops where it should, and refuses what cannot be right."""

import math

import numpy as np
import pyro
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.inference.objective import Objective


def fit(histories, split, **options):
    torch.manual_seed(0)
    model = br.models.BAMF(histories, embedding_dim=8)
    training = br.Training(**{"max_epochs": 3, "learning_rate": 1e-2, **options})
    return br.fit(model, split, Objective(br.Bernoulli(2)), training, progress=False)


class TestFit:
    def test_it_learns_what_is_there(self):
        """On data from the model, close to the truth and far above popularity."""
        synthetic = br.data.synthetic(seed=0)
        split = br.data.split(synthetic.interactions)
        torch.manual_seed(0)
        model = br.models.BAMF(br.data.histories(split), beta=1.0)
        training = br.Training(max_epochs=30, learning_rate=1e-2)
        br.fit(model, split, training=training, progress=False)

        class Truth:
            def score(self, user, item):
                rows = [model.histories.history.row(u).numpy() for u in user.tolist()]
                logits = map(synthetic.logits, user.tolist(), rows)
                return torch.tensor(np.stack(list(logits))).gather(1, item)

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
        again = br.evaluate(result.model, split, part="validation", ks=(10,)).per_user["ndcg@10"]
        assert again.mean() == pytest.approx(column.max())
        assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
        assert (result.history["seconds"] > 0).all()

    def test_patience_stops(self, histories, split):
        result = fit(
            histories,
            split,
            learning_rate=1e-12,
            max_epochs=9,
            patience=2,
            monitor=br.Monitor(every=1),
        )
        assert result.stopped == "patience"
        assert len(result.history) == result.best_epoch + 2

    def test_the_model_keeps_its_likelihood(self, histories, split):
        assert br.models.GMF(histories).likelihood == br.Bernoulli()
        assert fit(histories, split, max_epochs=1).model.likelihood == br.Bernoulli(2)

    def test_the_callers_random_state_is_left_alone(self, histories, split):
        torch.manual_seed(0)
        br.models.BAMF(histories, embedding_dim=8)
        expected = torch.rand(3)
        fit(histories, split, max_epochs=1)
        assert torch.equal(torch.rand(3), expected)

    @pytest.mark.parametrize("penalty", [0.0, 0.01])
    def test_pairwise_learns(self, penalty, histories, split):
        torch.manual_seed(0)
        model = br.models.BAMF(histories, embedding_dim=8)
        objective = Objective(br.BradleyTerry(negatives=1), penalty=penalty)
        training = br.Training(max_epochs=30, learning_rate=1e-2, patience=30)
        loss = br.fit(model, split, objective, training, progress=False).history["loss"]
        assert loss.iloc[-1] < 0.9 * loss.iloc[0]

    def test_a_warmed_up_objective_ends_at_its_weight(self, histories, split):
        """In the second epoch, after the rise, the loss is that of the constant weight."""
        model = br.models.BAMF(histories, user_scores=br.Scores(br.LogNormal(0.1)))
        training = br.Training(max_epochs=2, learning_rate=1e-12)
        losses = [
            br.fit(model, split, Objective(kl_weight=weight), training, progress=False)
            .history["loss"]
            .iloc[1]
            for weight in (0.5, br.LinearWarmup(0.5, 1), br.LinearWarmup(0.5, 9))
        ]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
        assert losses[2] < losses[0] - 0.01

    def test_time_goes_on_with_fractions(self, histories, split):
        times = []

        def weight(now):
            times.append(now)
            return 1.0

        torch.manual_seed(0)
        model = br.models.BAMF(histories, embedding_dim=8)
        training = br.Training(max_epochs=2, pairs=300)
        br.fit(model, split, Objective(kl_weight=weight), training, progress=False)
        steps = len(times) // 2
        assert steps > 3
        np.testing.assert_allclose(times, np.arange(2 * steps) / steps)

    @pytest.mark.parametrize("schedule", [br.LinearWarmup, br.CyclicWarmup])
    def test_bad_schedules(self, schedule):
        with pytest.raises(ValueError, match="weight must be a finite number above 0"):
            schedule(0.0, 3)
        with pytest.raises(ValueError, match=r"(epochs|period) must be a finite number above 0"):
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
        training = br.Training(max_epochs=1, learning_rate=1e-12)
        with pytest.warns(br.inference.CollapseWarning, match="user_attention, item_attention are"):
            br.fit(model, split, training=training, progress=False)

    def test_divergence_is_an_error(self, histories, split):
        with pytest.raises(FloatingPointError, match="lower learning_rate"):
            fit(histories, split, learning_rate=1e4, max_epochs=20)

    def test_weights_that_are_no_longer_finite_are_an_error(self, histories, split):
        def spoil(state):
            with torch.no_grad():
                next(state.model.parameters())[-1] = math.inf

        with pytest.raises(FloatingPointError, match=r"parameters are no longer finite .* epoch 1"):
            br.fit(
                br.models.GMF(histories), split, training=br.Training(pairs=10**6), callbacks=[spoil],
                progress=False,
            )  # fmt: skip

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"negatives_exclude": "test"}, "negatives_exclude must be"),
            ({"max_epochs": 0}, "max_epochs must be a whole number of at least 1"),
            ({"patience": 1.5}, "patience must be a whole number of at least 1"),
            ({"pairs": 0}, "pairs must be a whole number of at least 1"),
            ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
            ({"weight_decay": -0.1}, "weight_decay must be a finite number of at least 0"),
            ({"seed": -1}, "seed must be a whole number of at least 0"),
            ({"device": "abacus"}, "device 'abacus' is not on this machine"),
        ],
    )
    def test_bad_arguments_are_named(self, options, message, histories, split):
        with pytest.raises(ValueError, match=message):
            fit(histories, split, **options)

    @pytest.mark.parametrize("options", [{"kl_weight": 0.5}, {"kl_reduction": "mean"}])
    def test_tempering_nothing_is_an_error(self, options, histories, split):
        with pytest.raises(ValueError, match="kl_weight and kl_reduction mean nothing here"):
            br.fit(br.models.GMF(histories), split, Objective(**options), progress=False)

    def test_a_split_without_validation_is_an_error(self, synthetic):
        split = br.data.split(synthetic.interactions, ratio=(9, 0, 1))
        with pytest.raises(ValueError, match="no validation item"):
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

    def test_a_guide_without_a_site_is_an_error(self, histories, split):
        class Forgetful(br.models.BAMF):
            def guide(self, batch):
                return {}

        scores = br.Scores(scope="interaction")
        model = Forgetful(histories, user_scores=scores, item_scores=scores)
        with pytest.raises(
            ValueError, match=r"only in the model \['item_attention', 'user_attention'\]"
        ):
            br.fit(model, split, progress=False)

    def test_frozen_parameters_stay(self, histories, split):
        torch.manual_seed(0)
        model = br.models.BAMF(histories, embedding_dim=8)
        model.item.weight.requires_grad_(False)
        item, user = model.item.weight.clone(), model.user.weight.clone()
        br.fit(model, split, training=br.Training(max_epochs=1), progress=False)
        assert torch.equal(model.item.weight, item)
        assert not torch.equal(model.user.weight, user)

    def test_what_validation_pyro_does_is_left_as_it_was(self, histories, split):
        for wanted in (True, False):
            with pyro.validation_enabled(wanted):
                fit(histories, split, max_epochs=1)
                assert pyro.settings.get("validate_poutine") is wanted

    @pytest.mark.parametrize("likelihood", [br.Bernoulli, br.BradleyTerry])
    def test_bad_likelihood(self, likelihood):
        for negatives in (0, 1.5):
            with pytest.raises(ValueError, match="negatives must be a whole number of at least 1"):
                likelihood(negatives=negatives)
        assert likelihood(negatives=np.int64(2)).negatives == 2


@pytest.mark.parametrize("scores", [br.Scores(), br.Point()], ids=["random", "twin"])
@pytest.mark.parametrize(
    ("objective", "training", "decay"),
    [
        (Objective(), br.Training(), 0.1),
        (Objective(penalty=0.1), br.Training(), 0.0),
        (Objective(penalty=0.1), br.Training(weight_decay=0.2), 0.2),
        (Objective(), br.Training(weight_decay=0.0), 0.0),
    ],
)
def test_matrices_of_the_model_are_decayed_and_nothing_else(
    objective, training, decay, histories, split, scores
):
    """The same ones whether scores are random or not."""
    assert training.decay(objective) == decay
    groups = {}

    def note(state):
        names = {id(p): name for name, p in state.model.named_parameters()}
        for group in state.optimizer.param_groups:
            groups.update({names[id(p)]: group["weight_decay"] for p in group["params"]})
        state.stopped = "seen"

    torch.manual_seed(0)
    model = br.models.BAMF(histories, embedding_dim=8, user_scores=scores)
    br.fit(model, split, objective, training, callbacks=[note], progress=False)
    assert set(groups) == {name for name, _ in model.named_parameters()}
    decayed = {f"{name}.weight" for name in ("user", "item", "history", "match.0", "match.1")}
    assert groups == {name: decay if name in decayed else 0.0 for name in groups}
