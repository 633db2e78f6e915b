"""Candidates against sets."""

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.evaluation.protocols import cases, sampled


@pytest.mark.parametrize("part", ["test", "validation", "leave_one_out"])
def test_full_masks_what_is_known_and_nothing_else(part, split):
    wanted = split.items_by_user(part)
    users = []
    known = {"test": ["train", "validation"], "validation": ["train"]}
    known = split.items_by_user(*known.get(part, ["train", "validation"]))
    for user, candidates, relevant in cases(split, "full", part, seed=0):
        users.append(user)
        positives = set(wanted.row(user).tolist())
        assert set(candidates[relevant].tolist()) == positives
        others = set(known.row(user).tolist()) - positives
        assert set(candidates.tolist()) == set(range(split.interactions.n_items)) - others
    assert users == wanted.lengths.nonzero()[:, 0].tolist()


def test_sampled_draws_untouched_items_without_repeats(split):
    everything = split.items_by_user()
    for user, candidates, relevant in sampled(split, "test", negatives=20, seed=0):
        assert len(set(candidates.tolist())) == len(candidates)
        touched = everything.row(user)
        assert not np.isin(candidates[~relevant], touched).any()
        untouched = split.interactions.n_items - len(touched)
        assert (~relevant).sum() == min(20 * relevant.sum(), untouched)


def test_sampled_lists_depend_on_seed_and_user_only(split):
    one, same, other = (list(sampled(split, "test", seed=s)) for s in (0, 0, 1))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_an_item_only_in_the_test_part_is_a_candidate():
    frame = pd.DataFrame({"user": np.repeat(range(12), 10), "item": np.tile(range(10), 12)})
    frame.loc[5, "item"] = 99
    data = br.data.from_frame(frame)
    seeds = (br.data.split(data, seed=s) for s in range(100))
    split = next(s for s in seeds if 10 in data.item[s.test])
    model = br.models.BAMF(br.data.histories(split))
    assert 10 not in data.item[split.train]
    candidates = next(c for user, c, relevant in cases(split, "full", "test", 0) if user == 0)
    assert 10 in candidates
    assert np.isfinite(br.evaluate(model, split).per_user.to_numpy()).all()


def test_the_ranking_that_stops_training_does_not_spare_test_items(split):
    test = split.items_by_user("test")
    drawn = [
        test.contains(torch.full((len(items),), user), torch.from_numpy(items)).any()
        for user, items, _ in sampled(split, "leave_one_out")
    ]
    assert np.mean(drawn) > 0.5
