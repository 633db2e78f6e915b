"""MovieLens, downloaded once and kept in a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pooch

from bayes_recsys.data.files import read_ratings
from bayes_recsys.data.interactions import DataError, Interactions


@dataclass(frozen=True)
class _Source:
    """Where an archive comes from, its checksum, and the folder of interest inside."""

    url: str
    file: str
    checksum: str
    inside: str


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_SOURCES = {
    "latest-small": _Source(
        f"{_GROUPLENS}/ml-latest-small.zip",
        "ml-latest-small.zip",
        "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "ml-latest-small",
    ),
    # The wheel of RecBole carries MovieLens-100K with titles, so that this data set needs no more
    # than the package index pip is set up with.
    "100k": _Source(
        "recbole==1.2.1",
        "recbole-1.2.1-py3-none-any.whl",
        "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        "recbole/dataset_example/ml-100k",
    ),
    "1m": _Source(
        f"{_GROUPLENS}/ml-1m.zip",
        "ml-1m.zip",
        "md5:c4d9eecfca2ab87c1945afe126590906",
        "ml-1m",
    ),
}
MOVIELENS = tuple(_SOURCES)


def data_home() -> Path:
    """The cache: ``$BAYES_RECSYS_DATA`` if set, else the user's cache folder."""
    given = os.environ.get("BAYES_RECSYS_DATA")
    return Path(given) if given else Path(pooch.os_cache("bayes_recsys"))


def load_movielens(name: str, *, min_rating: float | None = None) -> Interactions:
    """A MovieLens data set (Harper and Konstan, "The MovieLens Datasets", 2015).

    Downloaded at the first call, checked against its checksum and unpacked into
    :func:`data_home`. A folder ``ml-<name>`` that is there already is used as it is.

    Args:
        name: ``"latest-small"`` (100,836 ratings), ``"100k"`` (100,000 ratings; fetched through
            pip, so a package index is enough) or ``"1m"`` (1,000,209 ratings).
        min_rating: Keep rows of at least this rating; by default every rating is a positive.

    Raises:
        ValueError: The name is unknown.
        DataError: The data is not in the cache and cannot be downloaded.
    """
    if name not in _SOURCES:
        raise ValueError(f"no MovieLens data set {name!r}; choose from {', '.join(MOVIELENS)}")
    folder = data_home() / f"ml-{name}"
    if not folder.is_dir():
        _download(_SOURCES[name], name, folder)
    return read_ratings(folder, min_rating=min_rating, name=f"ml-{name}")


def load(
    data: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    min_rating: float | None = None,
) -> Interactions:
    """Ratings by what a command line says: the name of a MovieLens data set, a ratings file, or a
    folder.

    Args:
        data: ``"latest-small"``, ``"100k"``, ``"1m"``, or a path as :func:`read_ratings` takes it.
        user: Name of the user column of a file.
        item: Name of its item column.
        min_rating: Keep rows of at least this rating.

    Raises:
        DataError: There is no such data set or file, or it cannot be read.
        ValueError: ``user`` or ``item`` is given for a MovieLens data set.
    """
    if data in MOVIELENS:
        if user or item:
            raise ValueError("user and item name columns of a ratings file, not of MovieLens")
        return load_movielens(str(data), min_rating=min_rating)
    if not Path(data).exists():
        raise DataError(
            f"{str(data)!r} is neither a file nor a folder nor one of {', '.join(MOVIELENS)}"
        )
    return read_ratings(data, user=user, item=item, min_rating=min_rating)


def _download(source: _Source, name: str, folder: Path) -> None:
    home = folder.parent
    home.mkdir(parents=True, exist_ok=True)
    try:
        archive = pooch.retrieve(
            source.url,
            known_hash=source.checksum,
            fname=source.file,
            path=home,
            downloader=_pip_download if source.file.endswith(".whl") else None,
            progressbar=False,
        )
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        other = "" if name == "100k" else " MovieLens '100k' needs only a package index."
        raise DataError(
            f"could not download MovieLens {name!r} from {source.url}: {error}.{other} "
            f"You can also put the unpacked files into {folder}."
        ) from error
    # Unpacked beside and renamed, so that an interrupted run leaves no half-filled folder.
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        with zipfile.ZipFile(archive) as file:
            members = [m for m in file.namelist() if m.startswith(source.inside + "/")]
            file.extractall(scratch, members)
        os.replace(Path(scratch, source.inside), folder)


def _pip_download(requirement: str, output_file: str, _pooch) -> None:
    """Fetch a wheel through pip, from whichever index pip is set up with."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--disable-pip-version-check", "--dest", scratch, requirement],
            check=True,
        )  # fmt: skip
        (wheel,) = Path(scratch).glob("*.whl")
        Path(output_file).write_bytes(wheel.read_bytes())
