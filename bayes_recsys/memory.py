"""Memory: what is free, and what is kept from one tensor to the next."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

# Parameters of glibc's mallopt (malloc.h), and what they are set to, in bytes.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEPT = {TRIM_THRESHOLD: 1 << 30, TOP_PAD: 1 << 26, MMAP_THRESHOLD: 1 << 25}

_depth = 0
# Where Linux says what a container may have.
CONTAINER = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that are free, in the machine or in what its container may have (by version 2 of Linux's control groups)."""
    free = psutil.virtual_memory().available
    try:
        most, used = (
            int((CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current")
        )
        stat = (CONTAINER / "memory.stat").read_text().split()
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free
    # What files have left in the cache is given back when it is asked for.
    cached = dict(zip(stat[::2], map(int, stat[1::2]), strict=True)).get("inactive_file", 0)
    return max(0, min(free, most - used + cached))


def check_memory(size: float, what: str, lower: str) -> None:
    """Refuse what cannot fit, rather than be killed for it.

    Args:
        size: How many bytes it takes.
        what: What takes them.
        lower: What to lower.

    Raises:
        MemoryError: It is more than is free.

    Example:
        >>> check_memory(2e15, "draws of logits", "draws")
        Traceback (most recent call last):
        MemoryError: draws of logits would take 1,862,645.1 GiB of memory, and ... free: lower draws
    """
    free = free_memory()
    if size > free:
        raise MemoryError(
            f"{what} would take {size / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} are free: lower {lower}"
        )


@contextmanager
def memory_kept() -> Iterator[None]:
    """Tensors that are freed leave their memory to the next ones; at the end of the outermost such block
    it goes back. (The C library's thresholds stay as they are set here: of what is freed later the process keeps up to
    1 GiB.)

    The C library otherwise gives the pages of every large tensor back to the system and asks for them
    anew a moment later, cleared, which may take a third of a training's time. Where it is not glibc (musl, macOS, Windows),
    nothing happens.
    """
    global _depth
    library = _glibc()
    if library is not None:
        for parameter, size in KEPT.items():
            library.mallopt(parameter, size)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if library is not None and not _depth:
            library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (only glibc has it)
        return library
    except (OSError, AttributeError, TypeError):
        return None
