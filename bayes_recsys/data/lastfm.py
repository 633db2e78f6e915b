"""Last.fm: who listened to which artist."""

from __future__ import annotations

from bayes_recsys.data.download import Source, cached
from bayes_recsys.data.files import read_ratings
from bayes_recsys.data.interactions import Interactions

_SOURCE = Source(
    "https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip",
    "hetrec2011-lastfm-2k.zip",
    "md5:296d61afe4e8632b173fc2dd3be20ce2",
    "",
)


def load_lastfm(*, min_plays: float | None = None) -> Interactions:
    """Last.fm of HetRec 2011 (Cantador, Brusilovsky and Kuflik, "2nd Workshop on Information
    Heterogeneity and Fusion in Recommender Systems", 2011).

    1,892 users, 17,632 artists, 92,834 pairs, artists' names as titles; no times. Every user has
    at most the 50 artists they listened to most. Downloaded at the first call, checked against
    its checksum and unpacked into :func:`~bayes_recsys.data.download.data_home`. A folder
    ``lastfm`` that is there already is used as it is.

    Args:
        min_plays: Keep pairs with at least this many plays; by default one is enough.

    Raises:
        DataError: The data is not in the cache and cannot be downloaded, or no pair is left.
    """
    return read_ratings(cached(_SOURCE, "lastfm"), min_rating=min_plays, name="lastfm")
