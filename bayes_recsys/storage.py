"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: savers are not kept apart there
    fcntl = None

# Left free on a disk, so that what is written beside finds room too.
SPARE = 4_000_000


def write_whole(path: Path, content: bytes) -> None:
    """Write a file: beside it, to the disk, and renamed, so that at every instant the old one or the new
    one stands there.

    Raises:
        OSError: The disk is full, say; the old file is as it was.
    """
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def check_room(folder: Path, size: int) -> None:
    """Refuse to write so many bytes where they do not fit, for libraries that do not survive a full disk.

    Raises:
        OSError: They do not fit.
    """
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise OSError(
            errno.ENOSPC,
            f"no room for {size / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB",
            str(folder),
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Of several processes that do this with one folder, one at a time; the end of a process ends it too."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _settle(folder: Path) -> None:
    """Have a rename on the disk (not on Windows, where folders cannot be opened)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
