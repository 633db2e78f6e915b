"""Small data, and models with weights far from their start."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data import Batch, Histories, Ragged, Split, TrainingBatches
from bayes_recsys.models import Model, Options


class SmallData:
    """Fixtures: 60 users who chose 10 to 20 of 80 items each; to inherit."""

    @pytest.fixture
    def split(self) -> Split:
        """An 8:1:1 split."""
        return small_split()

    @pytest.fixture
    def histories(self) -> Histories:
        """Its histories."""
        return small_histories()

    @pytest.fixture
    def batch(self, split: Split, histories: Histories) -> Batch:
        """A training batch with users of different history lengths."""
        return next(iter(batches(split, histories).epoch(1)))


@cache
def small_split() -> Split:
    """Made once."""
    data = br.data.synthetic(n_users=60, n_items=80, length=(10, 20), seed=1)
    return br.data.split(data.interactions, seed=1)


@cache
def small_histories() -> Histories:
    """Made once."""
    return br.data.histories(small_split())


def batches(
    split: Split,
    histories: Histories,
    *,
    negatives: int | None = 2,
    block: int = 4,
    pairs: int = 120,
    at_once: int = 300_000,
) -> TrainingBatches:
    """Batches of a small epoch."""
    return TrainingBatches(
        split.items_by_user("train"),
        histories,
        br.data.negative_sampler(split),
        negatives,
        block=block,
        pairs=pairs,
        at_once=at_once,
    )


def make(options: Options, histories: Histories, size: float = 0.4) -> Model:
    """A model with random parameters far from their initial values."""
    torch.manual_seed(0)
    model = options.build(histories)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(size * torch.randn_like(parameter))
    return model.eval()


def ragged(rows: list[list[int]]) -> Ragged:
    """Rows in the order given."""
    lengths = torch.tensor([len(row) for row in rows])
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    return Ragged(offsets, torch.tensor([value for row in rows for value in row]))


def rows_of(ragged: Ragged) -> list[list[int]]:
    """The rows as lists."""
    return [ragged.row(r).tolist() for r in range(len(ragged))]


def with_history(histories: Histories, rows: list[list[int]]) -> Histories:
    """The same but for the users' histories, and the audiences that follow from them."""
    history = ragged(rows)
    audience = Ragged.from_pairs(history.values, history.rows, histories.n_items)
    return replace(histories, history=history, audience=audience)
