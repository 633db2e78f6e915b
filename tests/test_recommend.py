"""The best new items of a user."""

import numpy as np
import pytest
import torch

import bayes_recsys as br
from tests.conftest import make


def test_new_items_in_order(histories):
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


def test_point_is_certain_and_best_first(histories):
    model = make(br.models.BAMF, histories, user_scores=br.Point(), item_scores=br.Point())
    table = br.recommend(model, users=["3"], k=3)
    assert (table["sd"] < 1e-6).all()
    fresh = np.setdiff1d(np.arange(histories.n_items), histories.known.row(3))
    score = model.score(torch.tensor([3]), torch.from_numpy(fresh)[None])[0]
    best = fresh[score.topk(3).indices]
    assert table["item"].tolist() == histories.item_ids[best].tolist()


def test_by_an_ensemble(histories):
    ensemble = br.DeepEnsemble([make(br.models.BAMF, histories, size=s) for s in (0.3, 0.4, 0.5)])
    table = br.recommend(ensemble, users=["3"], k=4)
    codes = histories.item_codes(table["item"])[None]
    user = torch.tensor([3])
    score, logits = ensemble.score(user, codes)[0], ensemble.draw_logits(user, codes)[:, 0]
    torch.testing.assert_close(torch.tensor(table["score"].to_numpy()), score)
    torch.testing.assert_close(torch.tensor(table["sd"].to_numpy()), logits.std(0))
    with pytest.raises(TypeError, match="a model is needed, not DeepEnsemble"):
        br.posterior_tree(ensemble, ["3"])


def test_everyone_by_default(histories):
    model = make(br.models.BAMF, histories)
    assert br.recommend(model, k=1)["user"].tolist() == histories.user_ids.tolist()


def test_bad_arguments(split, histories):
    model = make(br.models.BAMF, histories)
    with pytest.raises(KeyError, match="unknown user id 'nobody'"):
        br.recommend(model, users=["nobody"])
    with pytest.raises(ValueError, match="k must be"):
        br.recommend(model, k=0)
    with pytest.raises(ValueError, match="at least 2 draws"):
        br.recommend(br.Posterior(model, draws=1))
    with pytest.raises(TypeError, match="not Popularity"):
        br.recommend(br.baselines.Popularity(split))
    with pytest.raises(ValueError, match="users must be a list of ids, not '42'"):
        br.recommend(model, users="42")
    with pytest.raises(ValueError, match="users must not be empty"):
        br.recommend(model, users=[])
