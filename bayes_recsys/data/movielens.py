"""MovieLens: ratings of films."""

from __future__ import annotations

from bayes_recsys.data.download import Source, cached
from bayes_recsys.data.files import read_ratings
from bayes_recsys.data.interactions import Interactions

_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_SOURCES = {
    "latest-small": Source(
        f"{_GROUPLENS}/ml-latest-small.zip",
        "ml-latest-small.zip",
        "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "ml-latest-small/",
    ),
    # The wheel of RecBole carries MovieLens-100K with titles, so that this data set needs no more
    # than the package index pip is set up with.
    "100k": Source(
        "recbole==1.2.1",
        "recbole-1.2.1-py3-none-any.whl",
        "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        "recbole/dataset_example/ml-100k/",
    ),
    "1m": Source(
        f"{_GROUPLENS}/ml-1m.zip",
        "ml-1m.zip",
        "md5:c4d9eecfca2ab87c1945afe126590906",
        "ml-1m/",
    ),
}
MOVIELENS = tuple(_SOURCES)


def load_movielens(name: str, *, min_rating: float | None = None) -> Interactions:
    """A MovieLens data set (Harper and Konstan, "The MovieLens Datasets", 2015).

    Downloaded at the first call, checked against its checksum and unpacked into
    :func:`~bayes_recsys.data.download.data_home`. A folder ``ml-<name>`` that is there already is
    used as it is.

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
    other = "" if name == "100k" else "MovieLens '100k' needs only a package index. "
    folder = cached(_SOURCES[name], f"ml-{name}", advice=other)
    return read_ratings(folder, min_rating=min_rating, name=f"ml-{name}")
