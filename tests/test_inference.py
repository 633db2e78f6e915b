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


class TestDraws:
    def test_moments_of_draws_are_those_of_the_guide(self, histories):
        model = make(br.models.BAMF, histories, **PUBLISHED_BAMF)
        user, item = torch.tensor([2, 5]), torch.tensor([[1, 2, 3], [1, 2, 3]])
        draws = br.draw(model, user, item, draws=4000)
        batch = br.data.candidates(histories, user, item)
        site = model.attend(batch)["item_attention"]
        mean = draws.scores["item_attention"].mean(0)
        torch.testing.assert_close(
            mean[batch.valid], site.guide().mean[batch.valid], rtol=0.02, atol=0
        )
        prior = br.draw(model, user, item, draws=4000, source="prior").scores["item_attention"]
        log_sd = prior.log().std(0)[batch.valid]
        torch.testing.assert_close(log_sd, torch.ones_like(log_sd), rtol=0.06, atol=0)

    def test_logits_follow_from_the_drawn_weights(self, histories):
        model = make(br.models.BAMF, histories, combine="prod")
        user, item = torch.tensor([2]), torch.tensor([[1, 2, 3]])
        draws = br.draw(model, user, item, draws=5)
        batch = br.data.candidates(histories, user, item)
        with torch.no_grad():
            values = model.history(batch.history)
            assert torch.equal(br.Posterior(model, draws=5).draw_logits(user, item), draws.logits)
            for s in range(5):
                contexts = {k: w[s].nan_to_num() @ values for k, w in draws.weights.items()}
                torch.testing.assert_close(model.logits(batch, contexts), draws.logits[s])

    def test_chunks_of_a_deterministic_model_change_only_memory(self, histories):
        model = make(br.models.BAMF, histories, user_scores=br.Point(), item_scores=br.Point())
        user, item = torch.tensor([2, 3]), torch.tensor([[1, 2], [3, 4]])
        whole, parts = (br.draw(model, user, item, draws=7, entries=e).logits for e in (10**9, 1))
        assert whole.shape == (7, 2, 2)
        torch.testing.assert_close(whole, parts)
        torch.testing.assert_close(whole[0], model.score(user, item))

    def test_bad_arguments(self, histories):
        model = make(br.models.BAMF, histories)
        user, item = torch.tensor([2]), torch.tensor([[1]])
        with pytest.raises(ValueError, match="draws"):
            br.draw(model, user, item, draws=0)
        with pytest.raises(ValueError, match="source"):
            br.draw(model, user, item, source="guide")


class TestRecommend:
    def test_new_items_in_order(self, histories):
        model = make(br.models.BAMF, histories)
        table = br.recommend(model, users=["3", "7"], k=4)
        assert table["rank"].tolist() == [1, 2, 3, 4] * 2
        assert table["user"].tolist() == ["3"] * 4 + ["7"] * 4
        for user, rows in table.groupby("user"):
            codes = histories.item_codes(rows["item"])
            expected = model.score(torch.tensor([int(user)]), codes[None])[0]
            torch.testing.assert_close(torch.tensor(rows["score"].to_numpy()), expected)
            assert rows["score"].is_monotonic_decreasing
            known = histories.known.row(int(user)).tolist()
            assert not set(histories.item_codes(rows["item"]).tolist()) & set(known)
        assert (table["sd"] > 0).all()

    def test_point_is_certain_and_best_first(self, histories):
        model = make(br.models.BAMF, histories, user_scores=br.Point(), item_scores=br.Point())
        table = br.recommend(model, users=["3"], k=3)
        assert (table["sd"] < 1e-6).all()
        fresh = np.setdiff1d(np.arange(histories.n_items), histories.known.row(3))
        score = model.score(torch.tensor([3]), torch.from_numpy(fresh)[None])[0]
        best = fresh[score.topk(3).indices]
        assert table["item"].tolist() == histories.item_ids[best].tolist()

    def test_by_an_ensemble(self, histories):
        ensemble = br.DeepEnsemble(
            [make(br.models.BAMF, histories, size=s) for s in (0.3, 0.4, 0.5)]
        )
        table = br.recommend(ensemble, users=["3"], k=4)
        codes = histories.item_codes(table["item"])[None]
        user = torch.tensor([3])
        score, logits = ensemble.score(user, codes)[0], ensemble.draw_logits(user, codes)[:, 0]
        torch.testing.assert_close(torch.tensor(table["score"].to_numpy()), score)
        torch.testing.assert_close(torch.tensor(table["sd"].to_numpy()), logits.std(0))
        with pytest.raises(TypeError, match="a model is needed, not DeepEnsemble"):
            br.posterior_tree(ensemble, ["3"])

    def test_everyone_by_default(self, histories):
        model = make(br.models.BAMF, histories)
        assert br.recommend(model, k=1)["user"].tolist() == histories.user_ids.tolist()

    def test_bad_arguments(self, split, histories):
        model = make(br.models.BAMF, histories)
        with pytest.raises(KeyError, match="unknown user id 'nobody'"):
            br.recommend(model, users=["nobody"])
        with pytest.raises(ValueError, match="k must be"):
            br.recommend(model, k=0)
        with pytest.raises(ValueError, match="at least 2 draws"):
            br.recommend(br.Posterior(model, draws=1))
        with pytest.raises(TypeError, match="not Popularity"):
            br.recommend(br.baselines.Popularity(split))
        with pytest.raises(ValueError, match="users must be a list of ids, not the text '42'"):
            br.recommend(model, users="42")
        with pytest.raises(ValueError, match="users must not be empty"):
            br.recommend(model, users=[])


class TestModelFolder:
    @pytest.fixture
    def folder(self, histories, tmp_path):
        br.save_model(make(br.models.BAMF, histories), tmp_path / "model")
        return tmp_path / "model"

    def test_the_callers_random_state_is_left_alone(self, folder):
        state = torch.get_rng_state()
        br.load_model(folder)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("name", ["weights.pt", "options.json", "histories.npz"])
    @pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
    def test_damage_is_named(self, name, damage, folder):
        path = folder / name
        if damage == "missing":
            path.unlink()
        else:
            content = path.read_bytes()
            path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
        with pytest.raises(ModelFolderError, match=name):
            br.load_model(folder)

    def test_an_empty_or_absent_folder(self, tmp_path):
        (tmp_path / "model").mkdir()
        with pytest.raises(ModelFolderError, match=r"options\.json: the file is missing"):
            br.load_model(tmp_path / "model")
        with pytest.raises(ModelFolderError, match="no such model folder"):
            br.load_model(tmp_path / "other")

    def test_files_of_two_models(self, folder, histories, tmp_path):
        br.save_model(make(br.models.BAMF, histories, embedding_dim=3), tmp_path / "other")
        (tmp_path / "other" / "weights.pt").rename(folder / "weights.pt")
        with pytest.raises(ModelFolderError, match="do not fit together"):
            br.load_model(folder)

    def test_a_pickle_is_not_executed(self, folder):
        class Bomb:
            def __reduce__(self):
                return (pytest.fail, ("code ran",))

        torch.save({"x": Bomb()}, folder / "weights.pt")
        with pytest.raises(ModelFolderError, match=r"weights\.pt: cannot be read"):
            br.load_model(folder)

    def test_models_of_others(self, histories, tmp_path):
        class Mine(br.models.BAMF):
            pass

        br.save_model(make(Mine, histories), tmp_path / "mine")
        with pytest.raises(ModelFolderError, match="'Mine' is no model of this package"):
            br.load_model(tmp_path / "mine")
        assert isinstance(br.load_model(tmp_path / "mine", Mine), Mine)
        about = json.loads((tmp_path / "mine" / "options.json").read_text())
        guide = about["options"]["user_scores"]["guide"]
        assert guide == {"class": "LogNormal", "scale": "learned"}

    def test_replaced_whole(self, folder, histories):
        (folder / "stray").touch()
        br.save_model(make(br.models.BAMF, histories), folder)
        assert sorted(p.name for p in folder.iterdir()) == [
            "histories.npz",
            "options.json",
            "weights.pt",
        ]
        assert [p.name for p in folder.parent.iterdir()] == ["model"]

    def test_other_folders_are_left_alone(self, histories, tmp_path):
        (tmp_path / "precious.txt").touch()
        for path in (tmp_path, tmp_path / "precious.txt"):
            with pytest.raises(ModelFolderError, match="exists and is not a model folder"):
                br.save_model(make(br.models.BAMF, histories), path)
        assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]

    def test_an_option_that_json_cannot_hold_is_named(self, histories, tmp_path):
        model = make(br.models.BAMF, histories)
        model.options["beta"] = np.float32(0.5)
        with pytest.raises(ModelFolderError, match="option beta="):
            br.save_model(model, tmp_path / "model")
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_save_leaves_the_old_one(self, folder, histories, monkeypatch):
        def fail(*_args, **_kwargs):
            raise OSError("disk full")

        monkeypatch.setattr(np, "savez_compressed", fail)
        with pytest.raises(OSError, match="disk full"):
            br.save_model(make(br.models.BAMF, histories), folder)
        br.load_model(folder)
        assert [p.name for p in folder.parent.iterdir()] == ["model"]
