"""Ratings files and tables."""

import pandas as pd
import pytest

from bayes_recsys.data import DataError, DataWarning, from_frame, read_ratings

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
            ({"user": [1], "item": [1], "t": ["x"]}, "column 't' must have numbers, or dates"),
        ],
    )
    def test_bad_frames_are_named(self, frame, message):
        with pytest.raises(DataError, match=message):
            from_frame(pd.DataFrame(frame), timestamp="t" if "t" in frame else None)


@pytest.mark.parametrize("piece", [1, 2, 3, 100])
def test_files_are_the_same_in_pieces(piece, tmp_path, monkeypatch):
    """Ids as they are written, times as numbers, lines by their number, whatever piece they are in."""
    monkeypatch.setattr("bayes_recsys.data.tables.PIECE", piece)
    rows = "user,item,timestamp\n007,b,5\n7,a,4.5\n\n007,a,1e1\n9,b,7\n"
    data = read_ratings(write(tmp_path, {"r.csv": rows}) / "r.csv")
    assert data.user_ids.tolist() == ["007", "7", "9"]
    assert data.item_ids.tolist() == ["a", "b"]
    assert data.timestamp.tolist() == [4.5, 5.0, 7.0, 10.0]
    assert data.user_ids[data.user].tolist() == ["7", "007", "9", "007"]
    for bad, message in (
        (rows.replace("1e1", "late"), "line 5: column 'timestamp' must be a number, not 'late'"),
        (rows.replace("1e1", ""), "line 5: column 'timestamp'"),
        (rows.replace("007,a", ",a"), "line 5: column 'user' is empty"),
    ):
        with pytest.raises(DataError, match=message):
            read_ratings(write(tmp_path, {"bad.csv": bad}) / "bad.csv")


@pytest.mark.parametrize("timed", [True, False])
def test_a_pair_that_was_liked_and_is_no_more_is_no_positive(timed, tmp_path):
    """What is the last of a pair is asked before whether it is enough."""
    rows = [
        ("a", "x", 5, 1),
        ("a", "y", 1, 2),
        ("a", "x", 1, 9),
        ("a", "y", 5, 5),
        ("b", "x", 4, 3),
    ]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating", "timestamp"])
    if not timed:
        frame = frame.drop(columns="timestamp")
    frame.to_csv(tmp_path / "r.csv", index=False)
    with pytest.warns(DataWarning, match=r"2 repeated \(user, item\) pair"):
        data = read_ratings(tmp_path / "r.csv", min_rating=3)
    pairs = zip(data.user_ids[data.user], data.item_ids[data.item], strict=True)
    assert set(pairs) == {("a", "y"), ("b", "x")}
