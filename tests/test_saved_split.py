"""Splits as files."""

import csv

import numpy as np
import pandas as pd
import pytest

import bayes_recsys as br
from bayes_recsys.data import DataError, DataWarning, from_frame, load_split, save_split, timeline
from tests.conftest import events, make
from tests.test_splits import PARTS, pairs


def shuffled(data, seed):
    """The same interactions, rows in another order, and users and items under other codes."""
    rng = np.random.default_rng(seed)
    rows, users, items = map(rng.permutation, (len(data), data.n_users, data.n_items))
    return br.data.Interactions(
        np.argsort(users)[data.user[rows]],
        np.argsort(items)[data.item[rows]],
        data.user_ids[users],
        data.item_ids[items],
        timestamp=data.timestamp[rows],
        name=data.name,
    )


def test_comes_back(split, tmp_path):
    save_split(split, tmp_path / "new" / "split.csv")
    loaded = load_split(split.interactions, tmp_path / "new" / "split.csv")
    for part in PARTS:
        assert set(getattr(loaded, part)) == set(getattr(split, part))
    assert loaded.seed is None
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["split.csv"]


def test_scores_the_same_cases(split, histories, tmp_path):
    save_split(split, tmp_path / "split.csv")
    data = split.interactions
    frame = pd.DataFrame({"user": data.user, "item": data.item, "t": data.timestamp})
    frame = frame.sample(frac=1, random_state=1)
    loaded = load_split(from_frame(frame, timestamp="t"), tmp_path / "split.csv")
    model = make(br.models.BAMF, histories, embedding_dim=4)
    for protocol in ("full", "sampled"):
        for part in PARTS[1:]:
            one, two = (
                br.evaluate(model, s, protocol=protocol, part=part, seed=3).per_user
                for s in (split, loaded)
            )
            pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("seed", range(5))
def test_only_ids_count(split, seed, tmp_path):
    save_split(split, tmp_path / "split.csv")
    header, *lines = (tmp_path / "split.csv").read_text().splitlines()
    np.random.default_rng(seed).shuffle(lines)
    (tmp_path / "other.csv").write_text("\n".join([header, *lines]))
    loaded = load_split(shuffled(split.interactions, seed), tmp_path / "other.csv")
    assert all(pairs(loaded, part) == pairs(split, part) for part in PARTS)


def test_the_file(tmp_path):
    rows = [("10", "x", 4), ("9", "y", 1), ("9", "x", 2), ("9", "z", 3), ("10", "y", 0)]
    data = events(rows)
    with pytest.warns(DataWarning, match="too few"):
        save_split(br.data.leave_one_out(data), tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_bytes() == (
        b"user,item,part\n9,x,leave_one_out\n9,y,train\n9,z,test\n10,x,test\n10,y,train\n"
    )


def test_ids_stay_as_they_are_written(tmp_path):
    users = ["007", "7", "a,b", 'a"b', " a", "nan", "NA", "é\n", "1e3"]
    data = events([(u, i, t) for u in users for t, i in enumerate(["01", "1", "1.0", "#"])])
    split = br.data.leave_one_out(data)
    save_split(split, tmp_path / "split.csv")
    loaded = load_split(data, tmp_path / "split.csv")
    assert all(pairs(loaded, part) == pairs(split, part) for part in PARTS)
    with (tmp_path / "split.csv").open(newline="", encoding="utf-8") as file:
        assert {row["user"] for row in csv.DictReader(file)} == set(users)


def test_rows_in_no_part(late, tmp_path):
    with pytest.warns(DataWarning, match="come after"):
        split = timeline(late, ratio=(14, 2, 4))
    save_split(split, tmp_path / "split.csv")
    with pytest.warns(DataWarning, match=r"3 row\(s\) of events are not in the file"):
        loaded = load_split(late, tmp_path / "split.csv")
    assert all(pairs(loaded, part) == pairs(split, part) for part in PARTS)
    assert loaded.items_by_user().row(2).tolist() == [0, 1, 2]


def test_other_columns_and_a_byte_order_mark(tmp_path):
    data = events([("a", "x", 1), ("a", "y", 2)])
    path = tmp_path / "split.csv"
    path.write_bytes(b"\xef\xbb\xbfpart,fold,item,user\r\ntrain,1,x,a\r\n\r\ntest,1,y,a\r\n")
    loaded = load_split(data, path)
    assert (pairs(loaded, "train"), pairs(loaded, "test")) == ([("a", "x")], [("a", "y")])


def test_without_leave_one_out_rows_training_says_what_is_missing(split, tmp_path):
    save_split(split, tmp_path / "split.csv")
    text = (tmp_path / "split.csv").read_text().replace("leave_one_out", "validation")
    (tmp_path / "split.csv").write_text(text)
    loaded = load_split(split.interactions, tmp_path / "split.csv")
    assert len(loaded.validation) == len(split.validation)
    model = br.models.GMF(br.data.histories(loaded))
    with pytest.raises(ValueError, match="or name leave_one_out rows in its file"):
        br.fit(model, loaded, training=br.Training.as_published(max_epochs=1), progress=False)
    br.fit(model, loaded, training=br.Training(max_epochs=1), progress=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("user,item,part\n", "a header but no rows"),
        ("user,item\na,x\n", "line 1: no column 'part'; the header must name user, item, part"),
        ("a,x,train\n", "line 1: no column 'user'"),
        ("user,item,part\na,x,train\nb,z,train\n", "line 3: user 'b' and item 'z', part 'train': the pair is not in the data"),
        ("user,item,part\na,q,train\n", "line 2: user 'a' and item 'q', part 'train': the pair is not"),
        ("user,item,part\nq,x,train\n", "line 2: user 'q' and item 'x'"),
        ("user,item,part\na,x,train\na,y,test\n\na,x,test\n", "line 5: .* the pair stands twice"),
        ("user,item,part\na,x,train\na,y,dev\n", "line 3: .* 'dev': the pair needs a part: train, validation, test or leave_one_out"),
        ("user,item,part\na,x,\n", "line 2: .* part '': the pair needs a part"),
        ("user,item,part\na,x,train\na,y,leave_one_out\na,z,leave_one_out\n", "line 4: .* second leave_one_out item"),
        ("user,item,part\na,x,train\nb,y,test\n", "line 3: .* no row of its user trains"),
        ("user,item,part\na,x\n", "line 2: expected 3 fields, found 2"),
        ("user,item,part\na,x,train,1\n", "line 2: expected 3 fields, found 4"),
        ('user,item,part\na,x,train\na,"y,test\n', "line 3: not a readable table"),
        (b"user,item,part\na,\xff,train\n", "not a readable table"),
    ],
)  # fmt: skip
def test_bad_files_are_named(text, message, tmp_path):
    data = events([("a", "x", 1), ("a", "y", 2), ("a", "z", 3), ("b", "x", 1), ("b", "y", 2)])
    path = tmp_path / "split.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as error:
        load_split(data, path)
    assert str(path) in str(error.value)


def test_a_missing_file(split, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_split(split.interactions, tmp_path / "split.csv")


def test_replaces_whole_or_not_at_all(split, tmp_path, monkeypatch):
    path = tmp_path / "split.csv"
    path.write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_split(split, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    save_split(split, path)
    assert path.read_text().startswith("user,item,part\n")
