"""Item-item attention: its kernel against linear algebra of its own, its logits against sums."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.nn.kernel import ItemKernel


def parts(n_users, n_items):
    data = br.data.synthetic(n_users=n_users, n_items=n_items, length=(10, 20), seed=0).interactions
    return br.data.split(data)


def rows_of(split):
    """The training part, ``[M, N]``."""
    chosen = np.zeros((split.interactions.n_users, split.interactions.n_items))
    train = split.items_by_user("train")
    chosen[train.rows, train.values] = 1
    return chosen


def ease(chosen, l2):
    """Column by column by least squares, the target's own column left out: no inverse of the whole."""
    n_items = chosen.shape[1]
    weights = np.zeros((n_items, n_items))
    for i in range(n_items):
        others = np.delete(np.arange(n_items), i)
        x = chosen[:, others]
        weights[others, i] = np.linalg.solve(x.T @ x + l2 * np.eye(n_items - 1), x.T @ chosen[:, i])
    return weights


@pytest.mark.parametrize("shape", [(30, 60), (80, 40)], ids=["by users", "by items"])
class TestKernel:
    def test_is_ease(self, shape):
        split = parts(*shape)
        audience = br.data.histories(split).audience
        value, target = ItemKernel(audience, shape[0], l2=20.0).tables("cpu")
        assert value.shape == target.shape == (shape[1], min(shape))
        found = (value @ target.T).fill_diagonal_(0.0)
        np.testing.assert_allclose(found, ease(rows_of(split), 20.0), atol=1e-6)

    def test_a_logit_is_the_sum_of_what_each_choice_contributes(self, shape):
        split = parts(*shape)
        histories = br.data.histories(split)
        torch.manual_seed(0)
        model = br.models.ItemSimilarity(
            histories, embedding_dim=4, scores=br.Point(), kernel=3.0, l2=20.0, beta=0.7
        ).eval()
        with torch.no_grad():
            model.query.weight.mul_(10)
            model.item_bias.normal_()
        kernel = ease(rows_of(split), 20.0)
        every = torch.arange(shape[1])
        for user in (0, 7):
            found = model.score(torch.tensor([user]), every[None])[0]
            history = histories.history.row(user)
            energy = model.key(history) @ model.query.weight[user]
            for item in (
                int(history[0]),
                5,
                6,
            ):  # one in the history, which does not count for itself
                others = history != item
                score = energy[others].exp()
                alpha = score / score.sum() ** 0.7
                low_rank = model.history(history[others]) @ model.item.weight[item]
                of_kernel = torch.from_numpy(kernel[history[others].numpy(), item])
                contributions = alpha * low_rank + 3.0 * of_kernel / len(of_kernel) ** 0.7
                total = model.item_bias[item] + contributions.sum()
                assert found[item].item() == pytest.approx(total.item(), abs=1e-4)
                each = model.contributions(torch.tensor([user]), torch.tensor([[item]]))[0, 0]
                np.testing.assert_allclose(each[others], contributions.detach(), atol=1e-5)
                assert each[~others].isnan().all()

    def test_the_kernel_alone_ranks_as_ease(self, shape):
        split = parts(*shape)
        model = br.models.ItemSimilarity(
            br.data.histories(split), embedding_dim=4, scores=br.Point(), kernel=3.0, l2=20.0
        )
        with torch.no_grad():
            model.item.weight.zero_()
        ours = br.evaluate(model, split).per_user
        theirs = br.evaluate(br.baselines.EASE(split, l2=20.0), split).per_user
        np.testing.assert_allclose(ours["ndcg@10"], theirs["ndcg@10"], atol=1e-9)


@pytest.fixture(scope="module")
def split():
    return parts(60, 80)


@pytest.fixture(scope="module")
def histories(split):
    return br.data.histories(split)


class TestModel:
    def test_the_whole_catalogue_is_as_its_items(self, split, histories):
        """In training candidates share one product; the same as each alone, with random scores too."""
        torch.manual_seed(0)
        model = br.models.ItemSimilarity(histories, embedding_dim=4).train()
        sampler = br.data.negative_sampler(split)
        made = br.data.TrainingBatches(
            split.items_by_user("train"), histories, sampler, None, block=100, pairs=400
        )
        batch = next(made.epoch(1))
        assert batch.whole
        torch.testing.assert_close(
            model.expected_logits(batch), model.expected_logits(replace(batch, whole=False))
        )

    def test_the_kernel_is_no_part_of_training(self, histories):
        made = [
            br.models.ItemSimilarity(histories, embedding_dim=4, kernel=kernel)
            for kernel in (0.0, 5.0)
        ]
        made[1].load_state_dict(made[0].state_dict())
        batch = br.data.candidates(histories, torch.tensor([3]), torch.tensor([[1, 2, 3]]))
        seen = replace(batch, label=torch.tensor([[1.0, 0.0, 0.0]]))
        torch.testing.assert_close(*(model.expected_logits(seen) for model in made))
        assert not torch.allclose(*(model.expected_logits(batch) for model in made))

    def test_exact_scores_are_of_what_training_observes(self, split, histories):
        """There is no kernel in it; in what they predict there is."""
        made = [
            br.models.ItemSimilarity(histories, embedding_dim=4, kernel=kernel)
            for kernel in (0.0, 5.0)
        ]
        made[1].load_state_dict(made[0].state_dict())
        exact = [
            br.inference.hmc(model, split, ["3"], draws=5, warmup=5, progress=False)
            for model in made
        ]
        torch.testing.assert_close(*(one.scores[3] for one in exact))
        asked = torch.tensor([3]), torch.tensor([[1, 2, 3]])
        assert not torch.allclose(*(one.draw_logits(*asked) for one in exact))

    def test_the_kernel_is_made_once_for_all_threads(self, histories, monkeypatch):
        made, make = [], ItemKernel._make
        monkeypatch.setattr(
            ItemKernel, "_make", lambda self: (made.append(1), time.sleep(0.1), make(self))[2]
        )
        kernel = ItemKernel(histories.audience, histories.n_users, 10.0)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(kernel.tables, ["cpu"] * 4))
        assert len(made) == 1

    def test_learns_is_saved_and_explains(self, split, histories, tmp_path):
        torch.manual_seed(0)
        model = br.models.ItemSimilarity(histories, embedding_dim=8, kernel=4.0, l2=20.0)
        training = br.Training(
            max_epochs=30, learning_rate=1e-2, pairs=80 * 16, average=0.9, history_dropout=0.5,
            patience=30,
        )  # fmt: skip
        fit = br.fit(model, split, br.Objective(br.Softmax()), training, progress=False)
        assert fit.history["loss"].iloc[-1] < fit.history["loss"].iloc[0]
        assert fit.learned
        br.save_model(model, tmp_path / "model")
        loaded = br.load_model(tmp_path / "model")
        user, item = torch.tensor([5]), torch.arange(80)[None]
        torch.testing.assert_close(loaded.score(user, item), model.score(user, item))
        assert "user" in br.posterior_tree(model, ["5"], draws=5)["posterior"].sizes

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kernel": -1.0}, "kernel must be a finite number of at least 0"),
            ({"l2": 0.0}, "l2 must be a finite number above 0"),
            ({"attention_dim": 0}, "attention_dim must be a whole number"),
            ({"scores": br.Scores(scope="interaction")}, "scope"),
        ],
    )
    def test_bad_options_are_named(self, options, message, histories):
        with pytest.raises(ValueError, match=message):
            br.models.ItemSimilarity(histories, **options)


class TestChoosingTheKernel:
    def fitted(self):
        split = parts(60, 40)
        model = br.models.ItemSimilarity(br.data.histories(split), embedding_dim=4, beta=1.0)
        return split, model.eval()

    def test_the_kernel_alone_ranks_as_ease_and_the_best_is_kept(self, tmp_path):
        split, model = self.fitted()
        tried = br.inference.choose_kernel(
            model, split, weights=(0, 5, 50), penalties=(2, 20.0, 200)
        )
        alone = tried[np.isinf(tried["weight"])].set_index("l2")["ndcg@10"]
        for l2, value in alone.items():
            scorer = br.baselines.EASE(split, l2=l2)
            ranked = br.evaluate(scorer, split, part="validation", progress=False).per_user
            assert value == pytest.approx(ranked["ndcg@10"].mean(), abs=1e-6)
        beside = tried[~np.isinf(tried["weight"])]
        assert beside["weight"].tolist() == [0, 5, 50]
        assert set(beside["l2"]) == {alone.idxmax()}
        best = beside.loc[beside["ndcg@10"].idxmax()]
        assert (model.weight, model.kernel.l2) == (best["weight"], best["l2"])
        br.save_model(model, tmp_path / "kept")
        there = br.load_model(tmp_path / "kept")
        assert (there.weight, there.kernel.l2) == (best["weight"], best["l2"])
        user, item = torch.arange(5), torch.arange(40).expand(5, -1)
        assert torch.equal(there.score(user, item), model.score(user, item))

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"weights": []}, "at least one"),
            ({"penalties": ()}, "at least one"),
            ({"weights": [-1]}, "weights"),
            ({"penalties": [0]}, "penalties"),
        ],
    )
    def test_refuses(self, given, words):
        split, model = self.fitted()
        with pytest.raises(ValueError, match=words):
            br.inference.choose_kernel(model, split, **given)

    def test_interrupted_it_leaves_the_model_as_it_was(self, monkeypatch):
        split, model = self.fitted()
        model.use_kernel(3.0, 70.0)
        score = model.score
        monkeypatch.setattr(model, "score", lambda *of: score(*of) if model.weight < 50 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            br.inference.choose_kernel(model, split, weights=(0, 50), penalties=(20.0,))
        assert (model.weight, model.kernel.l2) == (3.0, 70.0)
        assert model.options.values["kernel"] == 3.0

    def test_refuses_another_model_and_another_split(self):
        split, model = self.fitted()
        with pytest.raises(TypeError, match="ItemSimilarity"):
            br.inference.choose_kernel(br.models.GMF(br.data.histories(split)), split)
        with pytest.raises(ValueError, match="split"):
            br.inference.choose_kernel(model, parts(60, 50))
