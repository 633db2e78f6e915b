"""Processes that work on one thing together: torch's default group."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def launched() -> Iterator[bool]:
    """Within, whether ``torchrun`` started this process as one of a group, which it then has joined; all but
    the first print nothing, and ``"cuda"`` is a GPU of its own for each where there are as many."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield False
        return
    # Long, as the others wait while the first one writes; one that died is noticed at once.
    dist.init_process_group(timeout=timedelta(days=1))
    try:
        local = int(os.environ["LOCAL_RANK"])
        if torch.cuda.is_available() and local < torch.cuda.device_count():
            torch.cuda.set_device(local)  # what "cuda" means here, and to torch's messages
        with nullcontext() if dist.get_rank() == 0 else redirect_stdout(io.StringIO()):
            yield True
        dist.barrier()  # who leaves first would end the messages of who has not
    finally:
        dist.destroy_process_group()


@dataclass
class Group:
    """Which of how many processes this one is; one of one, unless a group is asked for.

    Args:
        rank: From 0.
        size: How many there are.

    Attributes:
        interrupted: Whether a signal asked this process to end, see :meth:`interrupts_noted`.

    Example:
        >>> Group().first, list(Group(rank=1, size=2).share("abcde"))
        (True, ['b', 'd'])
    """

    rank: int = 0
    size: int = 1
    interrupted: bool = False

    @classmethod
    def of(cls, distributed: bool) -> Group:
        """This process alone, or all of torch's default group.

        Raises:
            ValueError: A group is asked for, and there is none.
        """
        if not distributed:
            return cls()
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "distributed=True needs a group of processes: call "
                "torch.distributed.init_process_group() first, in a script that is started by torchrun"
            )
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def share(self, items: Iterable) -> list:
        """Every so many-th item, this process's."""
        return list(items)[self.rank :: self.size]

    def gathered(self, own: list) -> list:
        """The items of which every process brings its :meth:`share`, in their order, in every process."""
        if self.size == 1:
            return own
        shares: list[list] = [[]] * self.size
        dist.all_gather_object(shares, own)
        every = [None] * sum(map(len, shares))
        for rank, share in enumerate(shares):
            every[rank :: self.size] = share
        return every

    def agreed(self, stopped: str | None) -> str | None:
        """Why training ends, the same in all: what the first process says, or that any was interrupted."""
        if self.size == 1:
            return "interrupted" if self.interrupted else stopped
        every: list[tuple] = [()] * self.size
        dist.all_gather_object(every, (stopped, self.interrupted))
        if any(interrupted for _, interrupted in every):
            return "interrupted"
        return every[0][0]

    def start_alike(self, tensors: Iterable[Tensor], described: str) -> None:
        """Give all processes the first one's tensors.

        Raises:
            ValueError: Processes describe their task in different words.
        """
        if self.size == 1:
            return
        texts: list[str] = [""] * self.size
        dist.all_gather_object(texts, described)
        for rank, text in enumerate(texts):
            if text != texts[0]:
                raise ValueError(
                    f"process {rank} was given another task than process 0: {text} in place of {texts[0]}"
                )
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)

    def add_up(self, parameters: list[Tensor], numbers: list[float]) -> list[float]:
        """Replace gradients by their sums over all processes, by one message for all that are dense; and
        the sums of some numbers."""
        if self.size == 1:
            return numbers
        dense = [p for p in parameters if p.grad is None or not p.grad.is_sparse]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in dense]
        extra = torch.tensor(numbers, device=parameters[0].device)
        message = torch.cat([*(g.flatten() for g in grads), extra])
        dist.all_reduce(message)
        *sums, extra = message.split([*(g.numel() for g in grads), len(numbers)])
        for parameter, total in zip(dense, sums, strict=True):
            parameter.grad = total.view_as(parameter)
        for parameter in parameters:
            if parameter.grad.is_sparse:
                dist.all_reduce(parameter.grad)
        return extra.tolist()

    @contextmanager
    def interrupts_noted(self, wanted: bool = False) -> Iterator[None]:
        """Ctrl-C and SIGTERM are noted, to be acted upon between two batches: of several processes, one that left
        between two messages would leave the others waiting; and where it is wanted. Else they are as ever. A second
        one ends at once."""
        main = threading.current_thread() is threading.main_thread()
        if not main or (self.size == 1 and not wanted):
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
