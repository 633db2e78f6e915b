"""Batches: positives and negatives, the whole catalogue, and where targets stand in histories."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.scores.present import Present
from bayes_recsys.testing import LikelihoodTests
from bayes_recsys.testing.data import ragged
from tests.conftest import batches, elbo, make


class TestOwn:
    """Against comparing every entry with every target."""

    def check(self, batch):
        history, there, item = batch.history, batch.history_mask, batch.item
        same = (history[:, None] == item[:, :, None]) & there[:, None]
        naive = (history[:, None] != item[:, :, None]) & there[:, None]
        assert torch.equal(Present.without(there, batch.own).mask, naive)
        assert torch.equal(batch.valid, naive & batch.mask[:, :, None])
        inside = same.any(-1)
        assert torch.equal(batch.own < history.shape[1], inside)
        found = batch.own[inside]
        assert torch.equal(same.nonzero()[:, 2], found)
        for row, listed in zip(inside, batch.inside, strict=True):
            assert set(row.nonzero()[:, 0].tolist()) <= set(listed.tolist())
            assert len(set(listed.tolist())) == len(listed)
        assert batch.inside.shape[1] == inside.sum(1).max()
        return int(inside.sum())

    @pytest.mark.parametrize("seed", range(10))
    def test_of_candidates_in_any_order(self, seed, histories):
        """Histories sorted or not, of different lengths and empty, and items that come twice."""
        rng = np.random.default_rng(seed)
        rows = [histories.history.row(u).tolist() for u in range(histories.n_users)]
        rows[7] = []
        if seed % 2:
            rows = [rng.permutation(row).astype(int).tolist() for row in rows]
        known = replace(histories, history=ragged(rows))
        user = torch.from_numpy(rng.integers(histories.n_users, size=9))
        user[4] = 7
        item = torch.from_numpy(rng.integers(histories.n_items, size=(9, 15)))
        item[:, 3] = torch.tensor([rows[u][-1] if rows[u] else 0 for u in user.tolist()])
        mask = torch.from_numpy(rng.uniform(size=item.shape) < 0.8)
        assert self.check(br.data.candidates(known, user, item)) >= 8
        self.check(br.data.candidates(known, user, item, mask))

    def test_of_the_whole_catalogue(self, histories):
        user = torch.arange(histories.n_users)
        item = torch.arange(histories.n_items).expand(len(user), -1)
        found = self.check(br.data.candidates(histories, user, item))
        assert found == len(histories.history.values)

    def test_of_training(self, split, histories):
        for negatives in (2, None):
            for batch in batches(split, histories, negatives=negatives).epoch(1):
                self.check(batch)

    def test_of_a_padded_entry_is_none(self, histories):
        """Padding is item 0, and a target may be."""
        lengths = histories.history.lengths
        user = torch.stack([lengths.argmin(), lengths.argmax()])
        self.check(br.data.candidates(histories, user, torch.zeros(2, 1, dtype=torch.long)))

    def test_of_nobody_and_of_nothing(self, histories):
        for users, targets in ((0, 3), (3, 0)):
            item = torch.zeros(users, targets, dtype=torch.long)
            batch = br.data.candidates(histories, torch.arange(users), item)
            assert batch.own.shape == (users, targets)
            assert batch.valid.shape[:2] == (users, targets)


class TestWholeCatalogue:
    @pytest.fixture
    def epoch(self, split, histories):
        return list(batches(split, histories, negatives=None, block=4, pairs=400).epoch(1))

    def test_every_item_is_a_candidate_and_labels_are_the_blocks_positives(
        self, epoch, split, histories
    ):
        train = split.items_by_user("train")
        seen, blocks = [], np.zeros(histories.n_users, int)
        for batch in epoch:
            assert batch.negatives == 0
            assert torch.equal(
                batch.item, torch.arange(histories.n_items).expand(len(batch.user), -1)
            )
            for user, label, mask in zip(batch.user.tolist(), batch.label, batch.mask, strict=True):
                own = set(train.row(user).tolist())
                labelled = set(label.nonzero()[:, 0].tolist())
                assert 1 <= len(labelled) <= 4
                assert labelled <= own
                masked = set((~mask).nonzero()[:, 0].tolist())
                assert masked == own - labelled, "positives of other blocks are no negatives"
                seen += [(user, item) for item in labelled]
                blocks[user] += 1
        assert sorted(seen) == list(zip(train.rows.tolist(), train.values.tolist(), strict=True))
        for batch in epoch:
            np.testing.assert_allclose(batch.share, 1 / blocks[batch.user])
            assert batch.scale == len(epoch)

    def test_bounds(self, epoch):
        assert len(epoch) > 20
        assert max(len(batch.user) for batch in epoch) == 400 // 80

    def test_another_epoch_has_other_blocks(self, split, histories):
        made = batches(split, histories, negatives=None, block=4)
        one, other = (
            {(int(u), tuple(label.nonzero()[:, 0].tolist())) for b in made.epoch(n)
             for u, label in zip(b.user, b.label, strict=True)}
            for n in (1, 2)
        )  # fmt: skip
        assert one != other


class TestHiddenHistory:
    """History dropout: a share of each block's history is gone, another each time, and nothing else changes."""

    def pairs(self, split, histories, negatives):
        whole = batches(split, histories, negatives=negatives)
        some = replace(whole, history_dropout=0.6)
        return list(zip(whole.epoch(1), some.epoch(1), strict=True))

    @pytest.mark.parametrize("negatives", [3, None])
    def test_a_share_is_hidden(self, negatives, split, histories):
        kept = there = 0
        for one, other in self.pairs(split, histories, negatives):
            for name in ("user", "item", "history", "share"):
                assert torch.equal(getattr(one, name), getattr(other, name))
            assert not (other.history_mask & ~one.history_mask).any()
            kept, there = kept + other.history_mask.sum(), there + one.history_mask.sum()
        assert kept / there == pytest.approx(0.4, abs=0.03)

    def test_a_target_that_is_kept_is_left_out_of_its_history(self, split, histories):
        for one, other in self.pairs(split, histories, 3):
            length = one.history.shape[1]
            place = torch.where(one.own < length, one.own, 0)
            seen = (one.own < length) & other.history_mask.gather(1, place)
            assert torch.equal(other.own < length, seen)
            assert torch.equal(one.label, other.label)

    def test_of_the_catalogue_what_is_kept_is_not_asked_for(self, split, histories):
        for one, other in self.pairs(split, histories, None):
            for g in range(len(one.user)):
                kept = set(other.history[g][other.history_mask[g]].tolist())
                chosen = set(one.label[g].nonzero()[:, 0].tolist())
                asked = set((one.mask[g]).nonzero()[:, 0].tolist())
                assert set(other.label[g].nonzero()[:, 0].tolist()) == chosen - kept
                assert set(other.mask[g].nonzero()[:, 0].tolist()) == asked - kept
            assert not other.inside.numel()

    def test_another_part_each_epoch_the_same_in_each_run(self, split, histories):
        made = replace(batches(split, histories, negatives=None), history_dropout=0.5)
        first, again, second = (
            {(b.user[0].item(), b.history_mask[0].sum().item()) for b in made.epoch(n)}
            for n in (1, 1, 2)
        )
        assert first == again != second

    def test_training_uses_it(self, split, histories):
        losses = []
        for dropout in (0.0, 0.7):
            torch.manual_seed(0)
            model = make(br.models.FISM, histories)
            training = br.Training(max_epochs=1, history_dropout=dropout)
            losses.append(br.fit(model, split, training=training, progress=False).history["loss"])
        assert losses[0].item() != losses[1].item()


class TestSoftmax(LikelihoodTests):
    likelihood = br.Softmax()

    def test_its_loss_is_that_of_all_choices(self, split, histories):
        model = make(br.models.GMF, histories)
        model.likelihood = br.Softmax()
        train = split.items_by_user("train")
        logits = model.score(
            torch.arange(60), torch.arange(80).expand(60, -1)
        )  # a user's positives in one block
        expected = 0.0
        for user in range(60):
            own = train.row(user)
            expected -= logits[user].log_softmax(-1)[own].sum().item()
        made = batches(split, histories, negatives=None, block=100, pairs=10**6)
        (whole,) = made.epoch(1)
        assert elbo(model, whole).item() == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("model_class", [br.models.GMF, br.models.BAMF])
    def test_trains_and_predicts(self, model_class, split, histories, tmp_path):
        torch.manual_seed(0)
        model = model_class(histories, embedding_dim=8)
        training = br.Training(max_epochs=25, learning_rate=3e-2, patience=25)
        result = br.fit(model, split, br.Objective(br.Softmax()), training, progress=False)
        assert result.history["loss"].iloc[-1] < 0.98 * result.history["loss"].iloc[0]
        nll = br.predictive_nll(model, split)
        user = nll.index[2]
        positives = split.items_by_user("test").row(int(user))
        new = np.setdiff1d(np.arange(80), split.items_by_user("train").row(int(user)))
        one = torch.tensor([int(user)])
        x = br.Posterior(model).draw_logits(one, torch.from_numpy(new)[None])[:, 0].double()
        by_hand = []
        for positive in positives.tolist():
            others = torch.from_numpy(~np.isin(new, positives) | (new == positive))
            chosen = x[:, others].softmax(-1)[:, list(new[others]).index(positive)]
            by_hand.append(-chosen.mean().log().item())
        assert nll[user] == pytest.approx(np.mean(by_hand), rel=1e-4)
        br.save_model(model, tmp_path / "model")
        assert br.load_model(tmp_path / "model").likelihood == br.Softmax()
        with pytest.raises(br.NoProbability):
            br.evaluation.predicted_pairs(model, split)
