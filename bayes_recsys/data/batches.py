"""The one batch: a user, many candidates, one history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bayes_recsys.data.history import Histories
from bayes_recsys.data.negatives import NegativeSampler
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.scores.present import Present
from bayes_recsys.streams import stream

# Tensors of a block that a step holds at once, at least: peaks of memory are of 25 and more.
TENSORS = 16


@dataclass(frozen=True)
class Batch:
    """``G`` blocks of one user and ``C`` candidates each, over that user's history.

    Args:
        user: User codes, shape ``[G]``.
        item: Candidates (targets), shape ``[G, C]``.
        mask: Which candidates are real, shape ``[G, C]``.
        history: Item codes, shape ``[G, L]``; padding is 0.
        history_mask: Which history entries are real, shape ``[G, L]``.
        own: Where each target stands in its own history, shape ``[G, C]``; ``L`` where it does not.
        inside: The candidates that stand in their own history, shape ``[G, W]``; in rows with fewer
            than ``W``, others follow.
        label: 1 for a positive, 0 for a negative, shape ``[G, C]``; ``None`` when predicting.
        negatives: Negatives behind each positive. Training candidates are laid out positive
            first, ``C = P · (1 + negatives)``, so ``[G, P, 1 + negatives]`` is a view. 0 where every
            item is a candidate, ``C = N``, and when predicting.
        whole: Whether the candidates of every block are all items, in order.
        scale: What the terms of this batch are multiplied by to estimate the whole data set:
            the number of batches in the epoch.
        share: Part of its user that each block is, shape ``[G]``: one over the number of the
            user's blocks in the epoch, so that what belongs to a user counts once. 1 when
            predicting.
    """

    user: Tensor
    item: Tensor
    mask: Tensor
    history: Tensor
    history_mask: Tensor
    own: Tensor
    inside: Tensor
    share: Tensor
    label: Tensor | None = None
    negatives: int = 0
    whole: bool = False
    scale: float = 1.0

    @cached_property
    def present(self) -> Present:
        """Which history entries each candidate may attend over, ``R_u \\ {i}``."""
        return Present.without(self.history_mask, self.own, self.mask)

    @cached_property
    def present_inside(self) -> Present:
        """The same of the candidates ``inside``."""
        return Present.without(self.history_mask, self.own.gather(1, self.inside))

    @cached_property
    def present_to_all(self) -> Present:
        """The history entries there are, one row a block."""
        return Present(self.history_mask[:, None], 1)

    @property
    def valid(self) -> Tensor:
        """``present`` as a table ``[G, C, L]``."""
        return self.present.mask

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in moved.items()})


def candidates(
    histories: Histories,
    user: Tensor,
    item: Tensor,
    mask: Tensor | None = None,
    kept: Tensor | None = None,
) -> Batch:
    """A batch to predict with: candidates ``item [G, C]`` of users ``user [G]``, those real that
    ``mask [G, C]`` says, over the entries of their histories that ``kept [G, L]`` says (default: all)."""
    history, there = histories.history.padded(user)
    if kept is not None:
        there = there & kept
    mask = torch.ones(item.shape, dtype=torch.bool) if mask is None else mask
    own = _place_of(item, history, there)
    is_inside = own < history.shape[1]
    inside = is_inside.byte().topk(int(is_inside.sum(1).max()) if len(user) else 0, dim=1).indices
    share = torch.ones(len(user))
    return Batch(user, item, mask, history, there, own=own, inside=inside, share=share)


def _place_of(item: Tensor, history: Tensor, there: Tensor) -> Tensor:
    """Position of every item ``[G, C]`` in its row of ``history [G, L]``, ``L`` where it is not."""
    if not item.numel():
        return torch.zeros_like(item)
    beyond = int(item.max()) + 1
    ordered, place = history.masked_fill(~there, beyond).sort(dim=1)
    found = torch.searchsorted(ordered, item.contiguous()).clamp(max=history.shape[1] - 1)
    return place.gather(1, found).where(ordered.gather(1, found) == item, history.shape[1])


@dataclass(frozen=True)
class TrainingBatches:
    """Batches of an epoch, a function of ``(seed, epoch)`` alone.

    A user's positives are shuffled and cut into blocks of at most ``block`` positives, each
    positive followed by its freshly drawn negatives; or, where every item is wanted, each block has
    the whole catalogue for candidates, those masked that the user chose in other blocks. Blocks of
    similar history length share a batch, of at most ``pairs`` candidates and ``at_once`` attention
    entries ``G · C · L`` (the second bound keeps tensors in the processor's cache). Batches come in
    random order.

    Args:
        positives: Training items of every user.
        histories: Their histories.
        sampler: Draws the negatives.
        negatives: Negatives per positive, at least 1; ``None`` for every item.
        block: Most positives in a block.
        pairs: Most candidates in a batch (a single block may exceed it).
        at_once: Most attention entries in a batch (a single block may exceed it).
        seed: Seed of everything random here.
        history_dropout: Share of each block's history that is hidden from it, drawn anew each time, in ``[0, 1)``. With
            the whole catalogue for candidates what is kept is none of them.
        share: Of each batch every ``share[1]``-th block, from ``share[0]``: what one of so many processes
            does of it. Where a batch has too few blocks, one without a real candidate.
    """

    positives: Ragged
    histories: Histories
    sampler: NegativeSampler
    negatives: int | None
    block: int = 32
    pairs: int = 2048
    at_once: int = 500_000
    seed: int = 0
    history_dropout: float = 0.0
    share: tuple[int, int] = (0, 1)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch ``number``, from the one at ``start``; all together they hold every
        positive once."""
        rng = stream("batches", self.seed, number)
        user = self.positives.rows.numpy()
        order = np.lexsort((rng.random(len(user)), user))
        user = torch.from_numpy(user)
        positive = self.positives.values[torch.from_numpy(order)]
        items = positive[:, None]
        if self.negatives is not None:
            negative = self.sampler.draw(user, self.negatives, rng)
            items = torch.cat([items, negative], dim=1)

        first, count, owner = self._blocks()
        groups = self._groups(count, self.histories.history.lengths.numpy()[owner], rng)
        make = self._sampled if self.negatives is not None else self._of_every_item
        hidden = self._hidden(number)
        rank, size = self.share
        for group in groups[start:]:
            mine = group[rank::size] if rank < len(group) else group[:1]
            places = [torch.from_numpy(a[mine]) for a in (first, count, owner)]
            kept = None if hidden is None else self._kept(places[-1], hidden[mine])
            batch = make(items, *places, kept)
            if rank >= len(group):
                batch = replace(batch, mask=torch.zeros_like(batch.mask))
            yield replace(batch, scale=float(len(groups)))

    def least_memory(self, differing: bool) -> float:
        """Bytes that an epoch has in memory at least: its candidates, and the tensors of its largest block; these have a
        number for each candidate and entry where scores are ``differing`` by target, else for each of both."""
        longest = int(self.histories.history.lengths.max())
        positives = int(self.positives.lengths.max())
        if self.negatives is None:
            width = candidates = self.histories.n_items
        else:
            width = min(positives, self.block) * (1 + self.negatives)
            candidates = len(self.positives.values) * (1 + self.negatives)
        entries = width * longest if differing else width + longest
        return 8.0 * candidates + 4.0 * TENSORS * entries

    def _hidden(self, number: int) -> np.ndarray | None:
        """A seed for each block's part of its history."""
        if not self.history_dropout:
            return None
        rng = stream("hidden history", self.seed, number)
        return rng.integers(2**32, size=int(self._blocks_of_user.sum()))

    def _kept(self, owner: Tensor, hidden: np.ndarray) -> Tensor:
        """Which of the entries of these users' histories ``[G, L]`` a block sees."""
        lengths = self.histories.history.lengths[owner].tolist()
        kept = torch.zeros(len(owner), max(1, *lengths), dtype=torch.bool)
        for row, (seed, length) in enumerate(zip(hidden.tolist(), lengths, strict=True)):
            drawn = np.random.default_rng(seed).random(length) >= self.history_dropout
            kept[row, :length] = torch.from_numpy(drawn)
        return kept

    @property
    def _blocks_of_user(self) -> Tensor:
        """Blocks each user's positives are cut into, shape ``[M]``."""
        return (self.positives.lengths + self.block - 1) // self.block

    def _blocks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First positive, number of positives and user of every block; a user's are even."""
        lengths = self.positives.lengths.numpy()
        parts = self._blocks_of_user.numpy()
        owner = np.repeat(np.arange(len(lengths)), parts)
        number = np.arange(len(owner)) - np.repeat(parts.cumsum() - parts, parts)
        first, last = (lengths[owner] * (number + end) // parts[owner] for end in (0, 1))
        return self.positives.offsets.numpy()[owner] + first, last - first, owner

    def _groups(self, count: np.ndarray, length: np.ndarray, rng) -> list[np.ndarray]:
        """Blocks of similar history length (jittered, so that company changes) in one batch."""
        order = np.argsort(length * rng.uniform(0.9, 1.1, len(length)), kind="stable")
        if self.negatives is None:
            width = np.full(len(count), self.histories.n_items)
        else:
            width = count * (1 + self.negatives)
        groups, current, widest, longest = [], [], 0, 0
        for b in order.tolist():
            widest, longest = max(widest, int(width[b])), max(longest, int(length[b]))
            wanted = (len(current) + 1) * widest
            if current and (wanted > self.pairs or wanted * longest > self.at_once):
                groups.append(np.array(current))
                current, widest, longest = [], int(width[b]), int(length[b])
            current.append(b)
        groups.append(np.array(current))
        return [groups[g] for g in rng.permutation(len(groups))]

    def _sampled(
        self, items: Tensor, first: Tensor, count: Tensor, owner: Tensor, kept: Tensor | None
    ) -> Batch:
        """Blocks of positives ``items[first : first + count]``, each with its negatives behind it."""
        index, mask = self._within(items, first, count)
        item = items[index]
        label = torch.zeros(item.shape)
        label[..., 0] = 1.0
        there = mask[..., None].expand(item.shape).flatten(1)
        batch = candidates(self.histories, owner, item.flatten(1), there, kept)
        share = 1 / self._blocks_of_user[owner]
        return replace(batch, share=share, label=label.flatten(1), negatives=self.negatives)

    def _of_every_item(
        self, items: Tensor, first: Tensor, count: Tensor, owner: Tensor, kept: Tensor | None
    ) -> Batch:
        """Blocks with the whole catalogue, but for what the user chose in other blocks."""
        index, mask = self._within(items, first, count)
        label = torch.zeros(len(owner), self.histories.n_items)
        label[mask.nonzero()[:, 0], items[index][..., 0][mask]] = 1.0
        chosen = self.positives.take(owner)
        there = torch.ones(label.shape, dtype=torch.bool)
        there[chosen.rows, chosen.values] = False
        every = torch.arange(self.histories.n_items).expand(label.shape)
        batch = candidates(self.histories, owner, every, there | (label == 1), kept)
        if kept is not None:  # what is kept tells what is hidden, and is not asked for
            is_kept = batch.own < batch.history.shape[1]
            label = label.masked_fill(is_kept, 0.0)
            nowhere = torch.full_like(batch.own, batch.history.shape[1])
            batch = replace(
                batch, mask=batch.mask & ~is_kept, own=nowhere, inside=batch.inside[:, :0]
            )
        share = 1 / self._blocks_of_user[owner]
        return replace(batch, share=share, label=label, whole=True)

    @staticmethod
    def _within(items: Tensor, first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of ``items`` of each block, padded, ``[G, P]``, and which of them are real."""
        column = torch.arange(int(count.max()))
        return (first[:, None] + column).clamp(max=len(items) - 1), column < count[:, None]
