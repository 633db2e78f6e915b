"""Random numbers by what they are for."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from bayes_recsys.arguments import check_whole


def stream(purpose: str, seed: int, *keys: int) -> np.random.Generator:
    """The random numbers of one purpose, seed and keys, independent of those of any other.

    NumPy fills a short seed up with zeros, so that ``[seed, user]`` and ``[seed, user, 0]`` are one
    stream, and two uses of one seed are too. Here the purpose and the number of keys are part of
    the seed.

    Args:
        purpose: What the numbers are for, in words: ``"tie-break"``.
        seed: The user's seed, not negative.
        keys: What else tells one stream from another: an epoch, a user; not negative.

    Raises:
        ValueError: A number is negative, or the seed is no whole number.

    Example:
        >>> stream("tie-break", 0, 3).integers(100, size=3).tolist()
        [80, 30, 17]
        >>> stream("tie-break", 0, 3, 0).integers(100, size=3).tolist()
        [7, 83, 67]
    """
    check_whole("seed", seed, least=0)
    if min(keys, default=0) < 0:
        raise ValueError(f"keys must not be negative, but are {keys}")
    words = [seed, len(keys)]
    if seed >= 1 << 32:  # two words to NumPy, of which the second would pass for a number of keys
        words = [seed & 0xFFFFFFFF, len(keys) + (1 << 31), seed >> 32]
    return np.random.default_rng([zlib.crc32(purpose.encode()), *words, *keys])


def seed_torch(seed: int, device: torch.device | str = "cpu") -> None:
    """``torch.manual_seed``, which takes a millisecond for devices that it does not find, for one device."""
    if torch.device(device).type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def torch_seed(purpose: str, seed: int, *keys: int) -> int:
    """A seed for :func:`seed_torch`, by the arguments of :func:`stream`."""
    return int(stream(purpose, seed, *keys).integers(2**63))
