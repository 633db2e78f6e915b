"""Data sets known by name."""

import zipfile

import pytest

import bayes_recsys as br
from bayes_recsys.data import DataError
from tests.test_files import AMAZON, ARTISTS, FILES, write


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
            with pytest.raises(ValueError, match="are for a ratings file, not for 1m"):
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
