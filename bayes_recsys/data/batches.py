"""The one batch: a user, many candidates, one history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bayes_recsys.data.histories import Histories
from bayes_recsys.data.negatives import NegativeSampler
from bayes_recsys.data.ragged import Ragged


@dataclass(frozen=True)
class Batch:
    """``G`` blocks of one user and ``C`` candidates each, over that user's history.

    Args:
        user: User codes, shape ``[G]``.
        item: Candidates (targets), shape ``[G, C]``.
        mask: Which candidates are real, shape ``[G, C]``.
        history: Item codes, shape ``[G, L]``; padding is 0.
        history_mask: Which history entries are real, shape ``[G, L]``.
        label: 1 for a positive, 0 for a negative, shape ``[G, C]``; ``None`` when predicting.
        negatives: Negatives behind each positive. Training candidates are laid out positive
            first, ``C = P · (1 + negatives)``, so ``[G, P, 1 + negatives]`` is a view.
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
    share: Tensor
    label: Tensor | None = None
    negatives: int = 0
    scale: float = 1.0

    @cached_property
    def valid(self) -> Tensor:
        """Which history entries a candidate may attend over: ``R_u \\ {i}``, shape ``[G, C, L]``."""
        other = self.history[:, None, :] != self.item[:, :, None]
        return other & self.history_mask[:, None, :] & self.mask[:, :, None]

    @cached_property
    def own(self) -> Tensor:
        """Which targets stand in their own history, shape ``[G, C]``."""
        same = self.history[:, None, :] == self.item[:, :, None]
        return (same & self.history_mask[:, None, :]).any(-1) & self.mask

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in moved.items()})


def candidates(
    histories: Histories, user: Tensor, item: Tensor, mask: Tensor | None = None
) -> Batch:
    """A batch to predict with: candidates ``item [G, C]`` of users ``user [G]``."""
    history, history_mask = histories.entries.padded(user)
    mask = torch.ones(item.shape, dtype=torch.bool) if mask is None else mask
    return Batch(user, item, mask, history, history_mask, share=torch.ones(len(user)))


@dataclass(frozen=True)
class TrainingBatches:
    """Batches of an epoch, a function of ``(seed, epoch)`` alone.

    A user's positives are shuffled and cut into blocks of at most ``block`` positives, each
    positive followed by its freshly drawn negatives. Blocks of similar history length share a
    batch, of at most ``pairs`` candidates and ``entries`` attention entries ``G · C · L``
    (the second bound keeps tensors in the processor's cache). Batches come in random order.

    Args:
        positives: Training items of every user.
        histories: Their histories.
        sampler: Draws the negatives.
        negatives: Negatives per positive, at least 1.
        block: Most positives in a block.
        pairs: Most candidates in a batch (a single block may exceed it).
        entries: Most attention entries in a batch (a single block may exceed it).
        seed: Seed of everything random here.
    """

    positives: Ragged
    histories: Histories
    sampler: NegativeSampler
    negatives: int
    block: int = 32
    pairs: int = 2048
    entries: int = 300_000
    seed: int = 0

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch ``number``; together they hold every positive once."""
        rng = np.random.default_rng([self.seed, number])
        user = self.positives.rows.numpy()
        order = np.lexsort((rng.random(len(user)), user))
        user = torch.from_numpy(user)
        positive = self.positives.values[torch.from_numpy(order)]
        negative = self.sampler.draw(user, self.negatives, rng)
        items = torch.cat([positive[:, None], negative], dim=1)

        start, count, owner = self._blocks()
        groups = self._groups(count, self.histories.entries.lengths.numpy()[owner], rng)
        for group in groups:
            yield self._batch(items, start[group], count[group], owner[group], float(len(groups)))

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
        width = count * (1 + self.negatives)
        groups, current, widest, longest = [], [], 0, 0
        for b in order.tolist():
            widest, longest = max(widest, int(width[b])), max(longest, int(length[b]))
            wanted = (len(current) + 1) * widest
            if current and (wanted > self.pairs or wanted * longest > self.entries):
                groups.append(np.array(current))
                current, widest, longest = [], int(width[b]), int(length[b])
            current.append(b)
        groups.append(np.array(current))
        return [groups[g] for g in rng.permutation(len(groups))]

    def _batch(self, items: Tensor, start, count, owner, scale: float) -> Batch:
        start, count, owner = map(torch.from_numpy, (start, count, owner))
        column = torch.arange(int(count.max()))
        mask = column < count[:, None]
        index = (start[:, None] + column).clamp(max=len(items) - 1)
        item = items[index]
        label = torch.zeros(item.shape)
        label[..., 0] = 1.0
        batch = candidates(
            self.histories,
            owner,
            item.flatten(1),
            mask[..., None].expand(item.shape).flatten(1),
        )
        return Batch(
            batch.user,
            batch.item,
            batch.mask,
            batch.history,
            batch.history_mask,
            share=1 / self._blocks_of_user[owner],
            label=label.flatten(1),
            negatives=self.negatives,
            scale=scale,
        )
