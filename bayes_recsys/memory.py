"""Memory that is kept from one tensor to the next."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt (malloc.h), and what they are set to, in bytes.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEPT = {TRIM_THRESHOLD: 1 << 30, TOP_PAD: 1 << 26, MMAP_THRESHOLD: 1 << 25}

_depth = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Tensors that are freed leave their memory to the next ones; at the end of the outermost such block
    it goes back.

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
