"""Splits at random, of the last, and in time."""

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data import DataError, DataWarning, from_frame, timeline
from tests.conftest import events, make

PARTS = ("train", "validation", "test", "leave_one_out")


def pairs(split, part):
    """A part by ids."""
    data, rows = split.interactions, getattr(split, part)
    ids = zip(data.user_ids[data.user[rows]], data.item_ids[data.item[rows]], strict=True)
    return sorted((str(u), str(i)) for u, i in ids)


class TestTimeline:
    def test_parts_follow_each_other_in_the_ratio(self, synthetic):
        split = timeline(synthetic.interactions, ratio=(6, 2, 2))
        time = synthetic.interactions.timestamp
        assert time[split.train].max() < time[split.validation].min()
        assert time[split.validation].max() < time[split.test].min()
        rows = np.concatenate([split.train, split.validation, split.test])
        assert sorted(rows) == list(range(len(time))), "all users are there from the first moment"
        for part, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            most = np.unique(time, return_counts=True)[1].max()
            assert abs(len(getattr(split, part)) - share * len(time)) <= most

    def test_cuts_are_exact_where_times_differ(self):
        split = timeline(events([("a", n, n) for n in np.random.default_rng(0).permutation(20)]))
        assert [len(getattr(split, part)) for part in PARTS] == [16, 2, 2, 1]
        assert split.interactions.timestamp[split.validation].tolist() == [16, 17]

    @pytest.mark.parametrize("seed", range(5))
    def test_one_moment_is_never_cut(self, seed):
        rng = np.random.default_rng(seed)
        rows = [(u, i, rng.integers(12)) for u in range(8) for i in range(10)]
        split = timeline(events(rows), ratio=(5, 3, 2))
        time = split.interactions.timestamp
        moments = [set(time[getattr(split, part)]) for part in PARTS[:3]]
        assert sum(map(len, moments)) == len(set.union(*moments))

    def test_does_not_depend_on_the_order_of_rows(self):
        rows = [(f"u{n % 3}", n, n // 2) for n in range(40)]
        one = timeline(events(rows))
        two = timeline(events(rows[::-1]))
        assert all(pairs(one, part) == pairs(two, part) for part in PARTS[:3])

    def test_the_latest_of_validation_is_the_leave_one_out_item(self, synthetic):
        split = timeline(synthetic.interactions)
        data, rows = split.interactions, split.validation
        assert np.isin(split.leave_one_out, rows).all()
        assert set(data.user[split.leave_one_out]) == set(data.user[rows])
        for row in split.leave_one_out:
            mine = rows[data.user[rows] == data.user[row]]
            assert data.timestamp[row] == data.timestamp[mine].max()

    def test_users_who_come_later_are_left_out_but_known(self, late):
        with pytest.warns(
            DataWarning, match=r"1 user\(s\) come after the training part; their 3 row\(s\)"
        ) as caught:
            split = timeline(late, ratio=(14, 2, 4))
        assert caught[0].filename == __file__
        assert [len(getattr(split, part)) for part in PARTS] == [14, 2, 1, 2]
        assert split.seed is None
        assert repr(split) == "Split('events': train 14, validation 2, test 1, leave_one_out 2)"
        assert split.items_by_user().row(2).tolist() == [0, 1, 2]
        assert split.items_by_user(*PARTS).row(2).tolist() == []
        assert br.data.histories(split).known.row(2).tolist() == [0, 1, 2]
        sampler = br.data.negative_sampler(split, "all")
        drawn = sampler.draw(torch.tensor([2]), 500, np.random.default_rng(0))
        assert set(drawn[0].tolist()) == set(range(3, 17))

    def test_what_is_known_when_a_part_is_ranked(self, late):
        with pytest.warns(DataWarning, match="come after"):
            split = timeline(late, ratio=(14, 2, 4))
        ((user, candidates, relevant),) = br.evaluation.protocols.full(split, "test")
        known = set(split.items_by_user("train", "validation").row(user).tolist())
        assert set(candidates.tolist()) == set(range(17)) - known
        assert candidates[relevant].tolist() == split.items_by_user("test").row(user).tolist()

    def test_no_model_recommends_to_a_user_it_never_saw(self, late):
        with pytest.warns(DataWarning, match="come after"):
            split = timeline(late, ratio=(14, 2, 4))
        model = make(br.models.BAMF, br.data.histories(split), embedding_dim=4)
        assert set(br.recommend(model, k=2)["user"]) == {"a", "b"}
        with pytest.raises(ValueError, match="user 'c' has no training row"):
            br.recommend(model, users=["a", "c"])

    def test_trains_and_evaluates(self, synthetic):
        data = synthetic.interactions
        first = data.timestamp + 4 * (data.user >= 50)  # ten users come late
        shifted = br.data.Interactions(
            data.user, data.item, data.user_ids, data.item_ids, timestamp=first + data.user % 3
        )
        with pytest.warns(DataWarning, match="come after"):
            split = timeline(shifted, ratio=(2, 5, 5))
        model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        br.fit(model, split, training=br.Training(max_epochs=2), progress=False)
        table = br.evaluate(model, split).per_user
        assert len(table) == len(np.unique(data.user[split.test])) < data.n_users
        assert br.predictive_nll(br.Posterior(model, draws=2), split).notna().all()

    def test_parts_not_asked_for_may_be_empty(self, late):
        with pytest.warns(DataWarning, match="come after"):
            split = timeline(late, ratio=(16, 0, 4))
        assert [len(getattr(split, part)) for part in PARTS] == [16, 0, 1, 0]
        assert len(timeline(late, ratio=(1, 0, 0)).train) == 20

    @pytest.mark.parametrize(
        ("rows", "part"),
        [
            ([("a", n, 5) for n in range(10)], "validation"),
            ([("a", n, n // 5) for n in range(10)], "validation"),
            ([("a", n, n) for n in range(9)] + [("b", 0, 9)], "test"),
        ],
    )
    def test_an_empty_part_is_named(self, rows, part):
        with pytest.raises(DataError, match=f"events: the {part} part is empty: too few"):
            timeline(events(rows))

    def test_needs_times_and_a_ratio(self, late):
        data = from_frame(pd.DataFrame({"user": [1, 1], "item": [1, 2]}))
        with pytest.raises(DataError, match="needs times, and the data has none; read a column"):
            timeline(data)
        with pytest.raises(DataError, match="ratio must be"):
            timeline(late, ratio=(0, 1, 1))

    def test_latest_small(self, latest_small):
        with pytest.warns(DataWarning, match=r"88 user\(s\) come after .* 18247 row\(s\)"):
            split = timeline(latest_small)
        assert [len(getattr(split, part)) for part in PARTS] == [80_669, 990, 930, 21]
        assert len(np.unique(latest_small.user[split.test])) == 20


class TestSplit:
    def test_parts_partition_the_rows_of_each_user(self, synthetic):
        data = synthetic.interactions
        split = br.data.split(data, seed=3)
        rows = np.concatenate([split.train, split.validation, split.test])
        assert sorted(rows) == list(range(len(data)))
        for user in range(data.n_users):
            n = (data.user == user).sum()
            counts = [
                (data.user[p] == user).sum() for p in (split.train, split.validation, split.test)
            ]
            assert abs(counts[0] - 0.8 * n) <= 0.5
            assert sum(counts) == n
        assert np.isin(split.leave_one_out, split.validation).all()
        assert len(np.unique(data.user[split.leave_one_out])) == len(split.leave_one_out)

    def test_seed_decides(self, synthetic):
        one, same, other = (br.data.split(synthetic.interactions, seed=s) for s in (3, 3, 4))
        assert np.array_equal(one.test, same.test)
        assert not np.array_equal(np.sort(one.test), np.sort(other.test))

    def test_leave_one_out_takes_the_last_two(self, synthetic):
        data = synthetic.interactions
        split = br.data.leave_one_out(data)
        for user in range(data.n_users):
            last = data.timestamp[data.user == user].max()
            assert data.timestamp[split.test[data.user[split.test] == user]] == [last]
            assert data.timestamp[split.validation[data.user[split.validation] == user]] == [
                last - 1
            ]

    def test_a_user_with_one_interaction_trains_with_a_warning(self):
        frame = pd.DataFrame({"user": [0] + [1] * 10, "item": [0, *range(10)]})
        with pytest.warns(
            DataWarning, match=r"too few interactions of 1 user\(s\) for a validation row and of 1"
        ):
            split = br.data.split(from_frame(frame))
        assert 0 in split.interactions.user[split.train]
        with pytest.warns(DataWarning, match="too few"):
            split = br.data.leave_one_out(from_frame(frame))
        assert 0 in split.interactions.user[split.train]

    @pytest.mark.parametrize("ratio", [(8, 1), (0, 1, 1), (8, -1, 1), (8, 1, float("nan"))])
    def test_bad_ratio(self, ratio, synthetic):
        with pytest.raises(DataError, match="ratio must be"):
            br.data.split(synthetic.interactions, ratio=ratio)
