"""What the threads that torch was given are used for: whole pieces of work side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[int]:
    """Operators take one thread each; yields how many torch had, which are free for other work.

    Tensors here are small. Divided between two threads they take longer than on one, and beside a
    busy process, for which one of the two then waits at every operator, several times as long.
    """
    given = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield given
    finally:
        torch.set_num_threads(given)


def side_by_side(function: Callable[[T], None], pieces: Iterable[T]) -> None:
    """Call it for every piece, as many at once as torch has threads, each with one."""
    with one_thread() as threads:
        if threads == 1:
            for piece in pieces:
                function(piece)
            return
        with ThreadPoolExecutor(threads) as pool:
            for done in pool.map(function, pieces):
                del done


def ahead(items: Iterable[T], threads: int) -> Iterator[T]:
    """The items; with more than one thread, the next is made while this one is used."""
    if threads == 1:
        yield from items
        return
    items = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(list, islice(items, 1))
        while made := waiting.result():
            waiting = pool.submit(list, islice(items, 1))
            yield made[0]
