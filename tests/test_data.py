"""Histories, negatives, batches and simulated data."""

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data import DataError, DataWarning, Ragged, from_frame
from tests.conftest import batches


class TestHistories:
    def test_only_training_items(self, split, histories):
        data = split.interactions
        for user in range(data.n_users):
            expected = set(data.item[split.train[data.user[split.train] == user]].tolist())
            assert set(histories.history.row(user).tolist()) == expected

    def test_cut_keeps_the_rarest(self, split):
        data = split.interactions
        items = data.item[split.train]
        cut = br.data.histories(split, max_length=5)
        frequency = np.bincount(items, minlength=data.n_items)
        for user in range(data.n_users):
            mine = items[data.user[split.train] == user]
            rarest = sorted(mine.tolist(), key=lambda i: (frequency[i], i))[:5]
            assert cut.history.row(user).tolist() == sorted(rarest)

    def test_unknown_ids_are_named(self, histories):
        assert histories.user_codes(["3", 4]).tolist() == [3, 4]
        with pytest.raises(KeyError, match="unknown user id 'ann'"):
            histories.user_codes(["ann"])

    def test_bad_length(self, split):
        with pytest.raises(ValueError, match="max_length"):
            br.data.histories(split, max_length=0)


class TestNegatives:
    @pytest.mark.parametrize("exclude", ["train", "all"])
    def test_excluded_items_are_never_drawn_and_others_are(self, exclude, split):
        sampler = br.data.negative_sampler(split, exclude)
        user = torch.arange(split.interactions.n_users)
        drawn = sampler.draw(user, 3000, np.random.default_rng(0))
        excluded = split.items_by_user(*(["train"] if exclude == "train" else []))
        for u in range(split.interactions.n_users):
            allowed = set(range(split.interactions.n_items)) - set(excluded.row(u).tolist())
            assert set(drawn[u].tolist()) == allowed

    def test_draws_are_uniform(self, split):
        sampler = br.data.negative_sampler(split)
        drawn = sampler.draw(torch.tensor([0]), 50_000, np.random.default_rng(0))[0]
        counts = torch.bincount(drawn)
        counts = counts[counts > 0].float()
        chi = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert chi < 2 * len(counts)

    def test_a_user_of_everything_is_named(self):
        frame = pd.DataFrame({"user": [0, 0, 1], "item": [0, 1, 0]})
        with pytest.warns(DataWarning):
            split = br.data.split(from_frame(frame))
        with pytest.raises(DataError, match="interacted with all 2 items"):
            br.data.negative_sampler(split).draw(torch.tensor([0]), 1, np.random.default_rng(0))

    def test_bad_pool(self, split):
        with pytest.raises(ValueError, match="negatives_exclude"):
            br.data.negative_sampler(split, "test")


class TestBatches:
    def test_an_epoch_holds_every_positive_once_and_its_negatives(self, split, histories):
        seen = []
        train = split.items_by_user("train")
        for batch in batches(split, histories).epoch(1):
            item = batch.item.unflatten(1, (-1, 3))
            real = batch.mask.unflatten(1, (-1, 3))
            assert (real == real[..., :1]).all()
            assert (batch.label.unflatten(1, (-1, 3)) == torch.tensor([1.0, 0.0, 0.0])).all()
            user = batch.user[:, None, None].expand(item.shape)
            positive = train.contains(user.reshape(-1), item.reshape(-1)).reshape(item.shape)
            assert positive[..., 0][real[..., 0]].all()
            assert not positive[..., 1:][real[..., 1:]].any()
            seen += list(
                zip(
                    user[..., 0][real[..., 0]].tolist(),
                    item[..., 0][real[..., 0]].tolist(),
                    strict=True,
                )
            )
        assert sorted(seen) == list(zip(train.rows.tolist(), train.values.tolist(), strict=True))

    def test_a_function_of_seed_and_epoch(self, split, histories):
        def items(seed, epoch):
            return [b.item.tolist() for b in batches(split, histories, seed=seed).epoch(epoch)]

        assert items(0, 1) == items(0, 1)
        assert items(0, 1) != items(0, 2)
        assert items(0, 1) != items(1, 1)

    def test_bounds_and_scale(self, split, histories):
        epoch = list(batches(split, histories, pairs=60, at_once=600).epoch(1))
        for batch in epoch:
            assert len(batch.user) == 1 or batch.item.numel() <= 60
            assert len(batch.user) == 1 or batch.valid.numel() <= 600
            assert batch.scale == len(epoch)

    def test_valid_leaves_out_the_target_and_padding(self, batch):
        for g, c, j in np.ndindex(batch.valid.shape):
            expected = (
                batch.mask[g, c]
                and batch.history_mask[g, j]
                and batch.history[g, j] != batch.item[g, c]
            )
            assert batch.valid[g, c, j] == expected


def test_ragged_contains_agrees_with_sets():
    rng = np.random.default_rng(0)
    rows, values = (torch.from_numpy(rng.integers(0, 9, 40)) for _ in range(2))
    ragged = Ragged.from_pairs(rows, values, 10)
    pairs = set(zip(rows.tolist(), values.tolist(), strict=True))
    r, v = torch.cartesian_prod(torch.arange(10), torch.arange(12)).T
    assert ragged.contains(r, v).tolist() == [
        (a, b) in pairs for a, b in zip(r.tolist(), v.tolist(), strict=True)
    ]
    empty = Ragged.from_pairs(rows[:0], values[:0], 3)
    assert not empty.contains(r[:3], v[:3]).any()
    assert empty.padded(torch.tensor([0, 2]))[1].sum() == 0


class TestSynthetic:
    def test_the_truth_ranks_what_was_drawn(self, synthetic):
        """The next event of a user scores above what chance gives, by the true logits."""
        data = synthetic.interactions
        ranks = []
        for user in range(data.n_users):
            items = data.item[data.user == user][np.argsort(data.timestamp[data.user == user])]
            logits = synthetic.logits(user, items[:-1])
            free = np.setdiff1d(np.arange(data.n_items), items[:-1])
            ranks.append((logits[free] > logits[items[-1]]).mean())
        assert np.mean(ranks) < 0.4

    def test_attention_is_a_softmax_of_energies(self, synthetic):
        history = np.array([3, 5, 8])
        odds = np.exp(synthetic.history[history] @ synthetic.item[2])
        np.testing.assert_allclose(synthetic.item_attention(2, history), odds / odds.sum())
        odds = np.exp(synthetic.history[history] @ synthetic.user[4])
        np.testing.assert_allclose(synthetic.user_attention(4, history), odds / odds.sum())

    def test_seed_and_bad_length(self):
        one, two = (
            br.data.synthetic(n_users=5, n_items=20, length=(2, 4), seed=7) for _ in range(2)
        )
        assert np.array_equal(one.interactions.item, two.interactions.item)
        with pytest.raises(ValueError, match="length must satisfy"):
            br.data.synthetic(n_items=20, length=(5, 30))
