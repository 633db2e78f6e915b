"""Progress bars."""

from __future__ import annotations

from collections.abc import Iterable

from tqdm.auto import tqdm

# Seconds before one is shown: what is done by then needs none.
PATIENCE = 3.0


def bar(
    unit: str, doing: str, total: int, *, over: Iterable | None = None, shown: bool = True
) -> tqdm:
    """A bar that a terminal (or notebook) shows where work takes longer than ``PATIENCE``.

    Args:
        unit: What is counted, ``"user"``.
        doing: What is done to it, ``"recommend"``.
        total: How many there are.
        over: What to iterate over; by default ``bar.update(n)`` counts.
        shown: ``False`` shows nothing.
    """
    return tqdm(
        over,
        desc=doing,
        unit=unit,
        total=total,
        leave=False,
        delay=PATIENCE,
        disable=None if shown else True,
    )
