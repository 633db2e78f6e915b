"""Ratings as tired people have them: packed, dated, quoted too much, in old encodings, of mixed types."""

import gzip
from datetime import date, datetime, timezone

import numpy as np
import pandas as pd
import pytest

from bayes_recsys.data import DataError, DataWarning, from_frame, read_ratings

ROWS = "user,item,rating,timestamp\n1,10,4.0,5\n1,20,1.0,6\n2,10,3.5,7\n"


def read(folder, text, name="r.csv", **options):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_ratings(path, **options)


def pairs(data):
    return set(zip(data.user_ids[data.user], data.item_ids[data.item], strict=True))


class TestQuotes:
    BROKEN = 'user,item,title\n1,10,"Great\n1,20,Fine\n2,10,"Good"\n3,30,Last\n'

    def test_rows_that_a_quote_would_swallow_are_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"r.csv: line 2: a quote opens that closes 2 line"):
            read(tmp_path, self.BROKEN)

    def test_a_review_with_breaks_and_commas_is_no_row(self, tmp_path):
        review = '"good\n2, maybe 3 stars\nand, well, long, 5\n10, 20"'
        data = read(tmp_path, f"user,item,stars,review\n1,10,4,{review}\n2,10,5,fine\n")
        assert pairs(data) == {("1", "10"), ("2", "10")}

    def test_so_is_an_id_of_several_lines(self, tmp_path):
        with pytest.raises(DataError, match="line 3: column 'item' runs over several lines"):
            read(tmp_path, 'user,item\n1,10\n2,"20\n3"\n4,40\n')

    def test_a_quote_never_closed_is_named_by_the_line_it_opens_on(self, tmp_path):
        rows = 'user,item,title\n1,10,"Fine,\nreally"\n1,20,Good\n2,10,"Great\n3,30,Last\n'
        with pytest.raises(DataError, match=r"r.csv: not a readable table: line 5: a quote opens"):
            read(tmp_path, rows)

    def test_a_break_within_a_title_is_fine_and_lines_after_it_are_counted_right(self, tmp_path):
        rows = 'user,item,title,timestamp\n1,10,"Two\nlines, or\nthree",5\n1,20,Good,{}\n'
        assert read(tmp_path, rows.format(6)).titles.tolist() == ["Two\nlines, or\nthree", "Good"]
        with pytest.raises(DataError, match="line 5: column 'timestamp' must be"):
            read(tmp_path, rows.format("late"))

    def test_a_row_too_long_is_named_by_its_line_too(self, tmp_path):
        with pytest.raises(DataError, match="line 4: 4 fields, where there should be 3"):
            read(tmp_path, 'user,item,title\n1,10,"Two\nlines"\n1,20,Good,really\n')


class TestHeaders:
    @pytest.mark.parametrize(
        ("text", "columns", "where"),
        [
            ("uid,iid,stars\n1,10,4\n2,20,5\n", ("user", "item", "rating"), "'user' has 'uid'"),
            ("who,what,stars\na,x,4\nb,y,5\n", ("user", "item", "rating"), "'rating' has 'stars'"),
            ("who,what,when\na,x,4\nb,y,5\n", ("user", "item", "timestamp"), "'timestamp' has 'wh"),
        ],
    )
    def test_a_header_of_unknown_names_is_no_user(self, text, columns, where, tmp_path):
        with pytest.raises(DataError, match=f"line 1 looks like a header: column {where}"):
            read(tmp_path, text, columns=columns)

    def test_usual_names_in_any_case_are_a_header(self, tmp_path):
        with pytest.raises(DataError, match="line 1 is a header"):
            read(tmp_path, "USERID,Thing\na,x\nb,y\n", columns=("user", "item"))

    def test_text_among_numbers_is_no_header(self, tmp_path):
        data = read(tmp_path, "a,1\n2,1\nb,3\n", columns=("user", "item"))
        assert data.user_ids.tolist() == ["2", "a", "b"]

    def test_columns_of_other_names_are_named(self, tmp_path):
        text = "who,what,stars,at,label\nb,x,5,2,X\na,x,5,1,X\na,y,2,3,Y\n"
        names = {"user": "who", "item": "what", "rating": "stars", "timestamp": "at"}
        data = read(tmp_path, text, **names, title="label", min_rating=3)
        assert (pairs(data), data.titles.tolist()) == ({("a", "x"), ("b", "x")}, ["X"])
        assert data.timestamp.tolist() == [1, 2]
        for kind in ("rating", "timestamp", "title"):
            with pytest.raises(DataError, match=f"{kind}='none' is no column; the file has 'who'"):
                read(tmp_path, text, user="who", item="what", **{kind: "none"})


class TestTimes:
    @pytest.mark.parametrize("name", ["timestamp", "time", "datetime", "date", "when"])
    def test_a_column_of_dates_is_found_and_becomes_seconds(self, name, tmp_path):
        rows = f"user,item,{name}\n1,10,2001-09-09T01:46:41\n1,20,2001-09-09T01:46:40Z\n"
        data = read(tmp_path, rows)
        assert data.timestamp.tolist() == [1e9, 1e9 + 1]
        assert data.item.tolist() == [1, 0]

    def test_what_is_no_date_is_named(self, tmp_path):
        rows = "user,item,date\n1,10,2001-09-09\n1,20,9.9.2001\n"
        with pytest.raises(DataError, match="line 3: column 'date' must be a number, or a date"):
            read(tmp_path, rows)

    @pytest.mark.parametrize(
        "times",
        [
            pd.to_datetime(["2001-09-09", "2001-09-10"]),
            pd.to_datetime(["2001-09-09", "2001-09-10"]).as_unit("s").tz_localize("UTC"),
            ["2001-09-09", "2001-09-10"],
            [datetime(2001, 9, 9, tzinfo=timezone.utc), datetime(2001, 9, 10, tzinfo=timezone.utc)],
            [date(2001, 9, 9), date(2001, 9, 10)],
        ],
    )
    def test_frames_have_dates_of_any_kind(self, times):
        data = from_frame(pd.DataFrame({"user": 1, "item": [1, 2], "t": times}), timestamp="t")
        assert data.timestamp.tolist() == [999_993_600.0, 1_000_080_000.0]

    def test_infinite_times_are_refused(self):
        frame = pd.DataFrame({"user": 1, "item": [1, 2], "t": [1.0, np.inf]})
        with pytest.raises(DataError, match=r"'t' has 1 missing or infinite value.*row 2"):
            from_frame(frame, timestamp="t")


class TestBytes:
    def test_packed_files_are_unpacked(self, tmp_path):
        data = read(tmp_path, gzip.compress(ROWS.encode()), "r.csv.gz")
        assert (pairs(data), data.name) == (pairs(read(tmp_path, ROWS)), "r")
        colons = gzip.compress(b"1::10::4::5\n1::20::1::6\n2::10::3.5::7\n")
        assert pairs(read(tmp_path, colons, "r.dat.gz")) == pairs(data)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "none"])
    def test_damaged_archives_are_named(self, damage, tmp_path):
        packed = bytearray(gzip.compress(ROWS.encode() * 100))
        if damage == "flipped":
            packed[len(packed) // 2] ^= 0xFF
        contents = {"cut": bytes(packed[:-20]), "none": b"no archive"}.get(damage, bytes(packed))
        with pytest.raises(DataError, match=r"r.csv.gz: a damaged .gz file"):
            read(tmp_path, contents, "r.csv.gz")

    def test_another_encoding_is_asked_for_by_line_and_byte(self, tmp_path):
        rows = "user,item\n1,café\n2,thé\n".encode("latin-1")
        with pytest.raises(
            DataError, match=r"line 2: byte 0xe9 at 6 is not utf-8; name .*encoding"
        ):
            read(tmp_path, rows)
        assert read(tmp_path, rows, encoding="latin-1").item_ids.tolist() == ["café", "thé"]

    def test_utf_16_is_recognised(self, tmp_path):
        with pytest.raises(DataError, match="the file is UTF-16; read it with encoding='utf-16'"):
            read(tmp_path, ROWS.encode("utf-16"))
        assert len(read(tmp_path, ROWS.encode("utf-16"), encoding="utf-16")) == 3

    def test_an_encoding_that_is_none_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="unknown encoding: klingon"):
            read(tmp_path, ROWS, encoding="klingon")

    def test_parquet_keeps_its_types(self, tmp_path):
        pytest.importorskip("pyarrow")
        frame = pd.DataFrame(
            {
                "user": pd.array([1, 2, 1], "Int64"),
                "item": ["x", "x", "y"],
                "date": pd.to_datetime(["2001-09-09"] * 3),
                "title": ["X", "X", "Y"],
            }
        )
        frame.to_parquet(tmp_path / "r.parquet")
        data = read_ratings(tmp_path / "r.parquet")
        assert pairs(data) == {("1", "x"), ("2", "x"), ("1", "y")}
        assert (data.titles.tolist(), set(data.timestamp)) == (["X", "Y"], {999_993_600.0})
        frame.assign(user=pd.array([1, None, 1], "Int64")).to_parquet(tmp_path / "r.parquet")
        with pytest.raises(DataError, match=r"r.parquet: row 2: column 'user' is empty"):
            read_ratings(tmp_path / "r.parquet")
        (tmp_path / "r.parquet").write_bytes(b"PAR1 not")
        with pytest.raises(DataError, match="not a readable Parquet file"):
            read_ratings(tmp_path / "r.parquet")

    def test_an_item_has_the_last_title_that_it_was_given(self, tmp_path):
        rows = "user,item,title\n1,a,T\n1,b,B\n2,a,\n2,c,\n"
        assert read(tmp_path, rows).titles.tolist() == ["T", "B", ""]


class TestFrames:
    def test_an_item_has_the_last_title_that_it_was_given(self):
        frame = pd.DataFrame({"user": [1, 1, 2, 2], "item": list("abac")})
        data = from_frame(frame.assign(title=["T", "B", None, "C"]), titles="title")
        assert data.titles.tolist() == ["T", "B", "C"]

    @pytest.mark.parametrize("kind", [int, str])
    def test_times_are_numbers_whatever_holds_them(self, kind):
        times = pd.Series([kind(1369699200), kind(1369699201)], dtype=object)
        frame = pd.DataFrame({"user": [1, 2], "item": ["a", "b"], "timestamp": times})
        data = from_frame(frame, timestamp="timestamp")
        assert data.timestamp.tolist() == [1369699200, 1369699201]
        frame["timestamp"] = pd.Series([kind(1369699200), "soon"], dtype=object)
        with pytest.raises(DataError, match="row 2 of the data has 'soon'"):
            from_frame(frame, timestamp="timestamp")

    def test_numbers_and_text_are_one_id_by_one_rule(self):
        frame = pd.DataFrame({"user": [42, 42.0, "42", "42.0", "042"], "item": list("abcde")})
        data = from_frame(frame)
        assert data.user_ids.tolist() == ["042", "42", "42.0"]
        assert np.bincount(data.user).tolist() == [1, 3, 1]
        with pytest.warns(DataWarning, match="repeated"):  # the same pair, then, too
            assert len(from_frame(frame.assign(item="a"))) == 3

    def test_titles_of_rows_are_no_titles_of_items(self):
        frame = pd.DataFrame({"user": [1, 2, 2], "item": [10, 10, 20], "title": ["X", "X", "Y"]})
        with pytest.raises(DataError, match=r"titles has the rows of the table.*titles='title'"):
            from_frame(frame, titles=frame["title"])
        assert from_frame(frame, titles="title").titles.tolist() == ["X", "Y"]
        indexed = frame.set_index("item")["title"]
        assert from_frame(frame, titles=indexed).titles.tolist() == ["X", "Y"]
        with pytest.raises(DataError, match="no title for any item"):
            from_frame(frame, titles=pd.Series(["X"], index=["none"]))

    def test_polars_frames_are_taken(self):
        polars = pytest.importorskip("polars")
        frame = polars.DataFrame(
            {"user": [1, 2], "item": ["x", "y"], "t": [datetime(2001, 9, 9)] * 2, "z": [[1], [2]]}
        )
        data = from_frame(frame, timestamp="t", titles="item")
        assert (data.user_ids.tolist(), data.titles.tolist()) == (["1", "2"], ["x", "y"])
        assert data.timestamp.tolist() == [999_993_600.0] * 2

    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            ([(1, 2)], "a DataFrame is needed, not list"),
            (pd.DataFrame([[1, 2, 3]], columns=["user", "user", "item"]), "several columns 'user'"),
            (pd.DataFrame({"user": [[1], [2]], "item": [1, 2]}), "ids must be numbers or text"),
            (pd.DataFrame({"user": ["", "a"], "item": [1, 2]}), "'user' has 1 missing"),
            (pd.DataFrame({"user": [np.inf, 1], "item": [1, 2]}), "'user' has 1 missing or inf"),
        ],
    )
    def test_what_is_no_table_of_ids_is_refused(self, frame, message):
        with pytest.raises(DataError, match=message):
            from_frame(frame)
