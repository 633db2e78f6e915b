"""Files, splits, histories, negatives and batches."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data import DataError, DataWarning, Ragged, from_frame, read_ratings
from tests.conftest import batches

FILES = {
    "r.csv": "userId,movieId,rating,timestamp\n1,10,4.0,5\n1,20,1.0,6\n2,10,3.5,7\n",
    "r.tsv": "user\titem\n1\t10\n1\t20\n2\t10\n",
    "r.inter": "user_id:token\titem_id:token\trating:float\n1\t10\t4\n1\t20\t1\n2\t10\t3.5\n",
    "r.dat": "1::10::4::5\n1::20::1::6\n2::10::3.5::7\n",
    "u.data": "1\t10\t4\t5\n1\t20\t1\t6\n2\t10\t3.5\t7\n",
    "r.rating": "1\t10\t4\t5\n1\t20\t1\t6\n2\t10\t3.5\t7\n",
    "user_artists.dat": "userID\tartistID\tweight\r\n1\t10\t4\r\n1\t20\t1\r\n2\t10\t3\r\n",
}
ARTISTS = 'id\tname\turl\tpictureURL\n10\t"Weird Al" Yankovic\thttp://w\t\n30\t"\thttp://q\t\n'
AMAZON = ("user", "item", "rating", "timestamp")


def write(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_every_format_reads_the_same(self, name, tmp_path):
        data = read_ratings(write(tmp_path, FILES) / name)
        pairs = {
            (data.user_ids[u], data.item_ids[i]) for u, i in zip(data.user, data.item, strict=True)
        }
        assert pairs == {("1", "10"), ("1", "20"), ("2", "10")}
        assert data.titles is None

    @pytest.mark.parametrize(
        ("ratings", "titles"),
        [
            ("r.csv", {"movies.csv": 'movieId,title\n10,"Ten, The (1990)"\n30,Other\n'}),
            ("r.dat", {"movies.dat": "10::Ten, The (1990)::Drama\n"}),
            ("u.data", {"u.item": "10|Ten, The (1990)|01-Jan-1990||\n"}),
            ("r.inter", {"r.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\n"
                                   "10\tTen, The\t1990\n"}),
        ],
    )  # fmt: skip
    def test_folders_bring_titles(self, ratings, titles, tmp_path):
        name = {"r.csv": "ratings.csv", "r.dat": "ratings.dat"}.get(ratings, ratings)
        data = read_ratings(write(tmp_path, {name: FILES[ratings], **titles}))
        assert data.titles.tolist() == ["Ten, The (1990)", ""]

    def test_quotes_of_artists_are_part_of_their_names(self, tmp_path):
        write(tmp_path, {"user_artists.dat": FILES["user_artists.dat"], "artists.dat": ARTISTS})
        assert read_ratings(tmp_path).titles.tolist() == ['"Weird Al" Yankovic', ""]

    @pytest.mark.parametrize("name", FILES)
    def test_a_byte_order_mark_is_no_part_of_the_first_field(self, name, tmp_path):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + FILES[name].encode())
        assert read_ratings(tmp_path / name).user_ids.tolist() == ["1", "2"]

    @pytest.mark.parametrize(
        ("name", "separator"), [("r.csv", ","), ("r.tsv", "\t"), ("r.rating", "\t"), ("r.data", "\t"),
                                ("r.dat", "\t"), ("r.dat", "::")]
    )  # fmt: skip
    def test_columns_name_what_no_header_does(self, name, separator, tmp_path):
        rows = [
            ("A39", "0205616461", "5.0", "2"),
            ("A39", "B01", "1.0", "3"),
            ("A4", "B01", "4", "1"),
        ]
        write(tmp_path, {name: "".join(separator.join(row) + "\n" for row in rows)})
        data = read_ratings(tmp_path / name, columns=AMAZON, min_rating=2)
        assert data.user_ids.tolist() == ["A39", "A4"]
        assert data.item_ids.tolist() == ["0205616461", "B01"]
        assert data.timestamp.tolist() == [1, 2]
        swapped = read_ratings(
            tmp_path / name, columns=("who", *AMAZON[1:]), item="who", user="item"
        )
        assert swapped.item_ids.tolist() == ["A39", "A4"]

    @pytest.mark.parametrize(
        ("name", "text", "columns", "message"),
        [
            ("r.csv", "user,item\na,b\n", ("user", "item"), "line 1 is a header; leave out columns="),
            ("r.csv", "a,b,5,1\n", ("user", "item"), r"not a readable table of user, item \(columns= names all"),
            ("r.csv", "a,b,1\na,c\n", ("user", "item", "timestamp"), "line 2: column 'timestamp' must be a number"),
            ("r.csv", "a,b\na,c\n", ("user", "item", "timestamp"), "line 1: column 'timestamp' must be a number"),
            ("r.csv", "a,b\na,\n", ("user", "item"), "line 2: column 'item' is empty"),
            ("r.csv", "a,b\n", ("user", "stars"), "no column for the item"),
            ("r.csv", "\n\n", ("user", "item"), "the file has no rows"),
            ("r.dat", "a::b::5\na::b\n", ("user", "item", "rating"), "line 2: expected at least 3 fields"),
            ("r.dat", "a::b\n::c\n", ("user", "item"), "line 2: column 'user' is empty"),
            ("r.inter", "user_id:token\titem_id:token\n1\t2\n", ("user", "item"), "but .inter files have one"),
            ("r.csv", "a,b\n", ("user", "user"), "must be a tuple of different names"),
            ("r.csv", "a,b\n", (), "must be a tuple of different names"),
            ("r.csv", "a,b\n", "user", "must be a tuple of different names, .* not 'user'"),
        ],
    )  # fmt: skip
    def test_columns_that_do_not_fit(self, name, text, columns, message, tmp_path):
        path = write(tmp_path, {name: text}) / name
        with pytest.raises(DataError, match=message):
            read_ratings(path, columns=columns)

    def test_columns_are_of_a_file(self, tmp_path):
        with pytest.raises(DataError, match="columns of a file, not of a folder"):
            read_ratings(write(tmp_path, {"ratings.csv": FILES["r.csv"]}), columns=AMAZON)

    def test_minimum_rating(self, tmp_path):
        path = write(tmp_path, FILES) / "r.csv"
        assert len(read_ratings(path, min_rating=3.5)) == 2
        with pytest.raises(DataError, match="no row has a rating of at least 9"):
            read_ratings(path, min_rating=9)

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("r.csv", "", "the file is empty"),
            ("r.csv", "user,item\n", "a header but no rows"),
            ("r.csv", "A39,0205,5.0,1\n", r"a header but no rows \(if line 1 is no header, .*columns="),
            ("r.csv", "A39,0205,5.0,1\nA40,02,1,3\n", "has 'A39', '0205', '5.0', '1'.* if line 1 is no header, name all columns with columns="),
            ("r.csv", "\n", "not a readable table: No columns"),
            ("r.csv", "\ufeff", "not a readable table: No columns"),
            ("r.csv", "who,item\n1,2\n", r"no column for the user .*the file has 'who', 'item'"),
            ("r.csv", "user,item\n1,2\n,3\n", "line 3: column 'user' is empty"),
            ("r.csv", "user,item\n1,2\n1,NaN\n", "line 3: column 'item' is empty"),
            ("r.csv", "user,item,timestamp\n1,2,5\n1,3,soon\n", "line 3: column 'timestamp' must be a number, not 'soon'"),
            ("r.csv", "user,item,timestamp\n1,2,5\n1,3,\n", "line 3: column 'timestamp' must be a number"),
            ("r.csv", 'user,item\n1,"2\n', "not a readable table"),
            ("r.csv", "user,item\n1,2,9\n1,3,4\n", "not a readable table"),
            ("r.csv", "user,item\n1,2\n\n\n3,\n", "line 5: column 'item' is empty"),
            ("r.dat", "1::10::4::5\n\n\nx::20::1::6\n", "line 4: column 'user_id'"),
            ("r.txt", "user,item\n1,2\n", "unknown kind of file; expected one of .csv"),
            ("r.dat", "1::10::4::5\nann::20::1::6\n", "line 2: column 'user_id' must be a whole number, not 'ann'"),
            ("r.dat", "1::10::4::5\n1,20,1,6\n", "line 2: expected at least 4 fields"),
            ("r.dat", "userID\tartistID\tweight\n", "a header but no rows"),
            ("r.dat", "userID\tartistID\tweight\n1\t\t3\n", "line 2: column 'artistID' is empty"),
            ("r.dat", "userID\tartistID\n1\t2\t3\t4\n", "not a readable table"),
            ("r.dat", "\n\n1,10,4,5\n", "line 3: neither fields separated by '::' .* nor a header separated by tabs"),
            ("r.dat", "\n\n", "line 1: neither"),
            ("r.dat", "1\t10\t4\n1\t20\t4\n", "name all columns with columns="),
            ("u.data", "1\t10\t4\t5\n1\tx\t1\t6\n", "line 2: column 'item_id' must be a whole number"),
            ("r.rating", "1\t10\t4\t5\n\n1.5\t2\t1\t6\n", "line 3: column 'user_id' must be a whole number, not '1.5'"),
            ("r.rating", "user\titem\trating\ttimestamp\n1\t2\t3\t4\n", "line 1: column 'user_id' must be a whole number, not 'user'"),
            ("r.rating", "1\t10\t4\n", r"line 1: fewer fields than user_id, .*name those it has with columns="),
            ("r.rating", "1\t10\t4\t5\t6\n", "not a readable table of user_id, item_id, rating, timestamp"),
            ("r.inter", "user_id\titem_id\n1\t2\n", "line 1: column 'user_id' has no type"),
        ],
    )  # fmt: skip
    def test_bad_files_are_named(self, name, text, message, tmp_path):
        with pytest.raises(DataError, match=message) as error:
            read_ratings(write(tmp_path, {name: text}) / name)
        assert str(tmp_path / name) in str(error.value)

    def test_missing_file_and_folder(self, tmp_path):
        with pytest.raises(DataError, match="no such file"):
            read_ratings(tmp_path / "nothing.csv")
        with pytest.raises(DataError, match="no ratings here"):
            read_ratings(tmp_path)

    def test_ids_stay_as_they_are_written(self, tmp_path):
        path = write(tmp_path, {"r.csv": "user,item\n007,1e3\n7,0010\n"}) / "r.csv"
        data = read_ratings(path)
        assert data.user_ids.tolist() == ["007", "7"]
        assert set(data.item_ids.tolist()) == {"1e3", "0010"}

    def test_a_folder_whose_items_have_no_titles(self, tmp_path):
        write(tmp_path, {"ratings.csv": FILES["r.csv"], "movies.csv": "movieId,genres\n10,Drama\n"})
        assert read_ratings(tmp_path).titles is None

    def test_one_column_for_both(self, tmp_path):
        path = write(tmp_path, FILES) / "r.csv"
        with pytest.raises(DataError, match="user and item are both column 'userId'"):
            read_ratings(path, item="userId")

    def test_named_columns(self, tmp_path):
        path = write(tmp_path, {"r.csv": "who,what\na,x\nb,x\n"}) / "r.csv"
        assert read_ratings(path, user="who", item="what").user_ids.tolist() == ["a", "b"]


class TestFrame:
    def test_ids_are_text_in_numeric_order(self):
        data = from_frame(pd.DataFrame({"user": [10.0, 9.0, 10.0], "item": ["b", "a", "a"]}))
        assert data.user_ids.tolist() == ["9", "10"]
        assert data.item_ids.tolist() == ["a", "b"]
        assert data.user.tolist() == [1, 0, 1]

    def test_repeats_keep_the_last(self):
        frame = pd.DataFrame({"user": [1, 1, 2], "item": [5, 5, 5], "t": [9, 3, 1]})
        with pytest.warns(DataWarning, match="1 repeated"):
            data = from_frame(frame, timestamp="t")
        assert sorted(data.timestamp.tolist()) == [1, 9]

    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            ({"user": [1]}, "no column 'item'"),
            ({"user": [], "item": []}, "no rows"),
            ({"user": [1, None], "item": [1, 2]}, "column 'user' has 1 missing"),
            ({"user": [1], "item": [1], "t": ["x"]}, "column 't' must be numeric"),
        ],
    )
    def test_bad_frames_are_named(self, frame, message):
        with pytest.raises(DataError, match=message):
            from_frame(pd.DataFrame(frame), timestamp="t" if "t" in frame else None)


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


class TestHistories:
    def test_only_training_items(self, split, histories):
        data = split.interactions
        for user in range(data.n_users):
            expected = set(data.item[split.train[data.user[split.train] == user]].tolist())
            assert set(histories.entries.row(user).tolist()) == expected

    def test_cut_keeps_the_rarest(self, split):
        data = split.interactions
        items = data.item[split.train]
        cut = br.data.histories(split, max_length=5)
        frequency = np.bincount(items, minlength=data.n_items)
        for user in range(data.n_users):
            mine = items[data.user[split.train] == user]
            rarest = sorted(mine.tolist(), key=lambda i: (frequency[i], i))[:5]
            assert cut.entries.row(user).tolist() == sorted(rarest)

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
        epoch = list(batches(split, histories, pairs=60, entries=600).epoch(1))
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


class TestMovieLens:
    def test_unknown_name(self):
        with pytest.raises(ValueError, match="choose from latest-small, 100k, 1m"):
            br.data.load_movielens("25m")

    def test_load_takes_a_name_or_a_path(self, tmp_path, monkeypatch):
        folder = tmp_path / "home" / "ml-1m"
        folder.mkdir(parents=True)
        write(folder, {"ratings.dat": FILES["r.dat"]})
        monkeypatch.setenv("BAYES_RECSYS_DATA", str(tmp_path / "home"))
        write(tmp_path, {"r.csv": "a,x\nb,x\n"})
        assert br.data.load(tmp_path / "r.csv", columns=("user", "item")).n_users == 2
        by_name, by_path = br.data.load("1m"), br.data.load(folder)
        assert by_name.item_ids.tolist() == by_path.item_ids.tolist()
        assert by_name.name == "ml-1m"
        with pytest.raises(
            DataError, match="'2m' is neither a file nor a folder nor one of latest"
        ):
            br.data.load("2m")
        for option in ({"user": "who"}, {"columns": AMAZON}):
            with pytest.raises(ValueError, match="columns of a ratings file, not of 1m"):
                br.data.load("1m", **option)

    def test_a_failed_download_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BAYES_RECSYS_DATA", str(tmp_path))

        def refuse(*_args, **_kwargs):
            raise OSError("no route")

        monkeypatch.setattr("pooch.retrieve", refuse)
        with pytest.raises(DataError, match=r"no route.*'100k' needs only a package index.*ml-1m"):
            br.data.load_movielens("1m")
        assert list(tmp_path.iterdir()) == []

    def test_unpacks_whole_or_not_at_all(self, tmp_path, monkeypatch):
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("ml-1m/ratings.dat", FILES["r.dat"])
            file.writestr("ml-1m/movies.dat", "10::Ten::Drama\n")
        monkeypatch.setenv("BAYES_RECSYS_DATA", str(tmp_path / "home"))
        monkeypatch.setattr("pooch.retrieve", lambda *_a, **_k: str(archive))
        data = br.data.load_movielens("1m")
        assert data.name == "ml-1m"
        assert data.titles.tolist() == ["Ten", ""]
        assert [p.name for p in (tmp_path / "home").iterdir()] == ["ml-1m"]

    def test_latest_small_as_it_is(self, latest_small):
        assert (len(latest_small), latest_small.n_users, latest_small.n_items) == (
            100_836,
            610,
            9_724,
        )
        assert latest_small.titles[latest_small.item_ids.tolist().index("1")] == "Toy Story (1995)"


class TestLastFM:
    def test_reads_what_is_there(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BAYES_RECSYS_DATA", str(tmp_path))
        (tmp_path / "lastfm").mkdir()
        files = {"user_artists.dat": FILES["user_artists.dat"], "artists.dat": ARTISTS}
        write(tmp_path / "lastfm", files)
        assert len(br.data.load_lastfm()) == 3
        assert (
            len(br.data.load_lastfm(min_plays=3)) == len(br.data.load("lastfm", min_rating=3)) == 2
        )
        assert br.data.load("lastfm").name == "lastfm"
        with pytest.raises(DataError, match="no row has a weight of at least 5"):
            br.data.load_lastfm(min_plays=5)
        with pytest.raises(DataError, match="needs times, and the data has none"):
            br.data.timeline(br.data.load_lastfm())

    def test_unpacks_an_archive_without_a_folder(self, tmp_path, monkeypatch):
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("user_artists.dat", FILES["user_artists.dat"])
            file.writestr("artists.dat", ARTISTS)
            file.writestr("readme.txt", "Last.fm")
        monkeypatch.setenv("BAYES_RECSYS_DATA", str(tmp_path / "home"))
        monkeypatch.setattr("pooch.retrieve", lambda *_a, **_k: str(archive))
        assert br.data.load_lastfm().titles.tolist() == ['"Weird Al" Yankovic', ""]
        assert [p.name for p in (tmp_path / "home").iterdir()] == ["lastfm"]

    def test_a_failed_download_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BAYES_RECSYS_DATA", str(tmp_path))

        def refuse(*_args, **_kwargs):
            raise OSError("no route")

        monkeypatch.setattr("pooch.retrieve", refuse)
        with pytest.raises(
            DataError, match=r"lastfm from https.*2k\.zip: no route\. You can also put"
        ):
            br.data.load_lastfm()

    def test_as_it_is(self):
        if not (br.data.data_home() / "lastfm").is_dir():
            pytest.skip("Last.fm is absent; set BAYES_RECSYS_DATA or call load_lastfm once")
        data = br.data.load_lastfm()
        assert (len(data), data.n_users, data.n_items) == (92_834, 1_892, 17_632)
        assert data.titles[data.item_ids.tolist().index("1686")] == '"Weird Al" Yankovic'
        assert (data.titles != "").all()
