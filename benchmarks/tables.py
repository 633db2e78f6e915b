"""Seconds of a training step with tables of more and more rows, dense updates against sparse ones.

    python benchmarks/tables.py --rows 1e4 1e5 1e6

The default model on made-up data whose batches are always the same; only the tables of vectors that it looks up in, of
users, targets and entries, are longer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
import pandas as pd
import torch

import bayes_recsys as br
from bayes_recsys.nn.tables import embedding

# Items of the data.
MOST = 3000


class Clock:
    """A callback of ``fit`` that stops after so many steps; the first are not counted."""

    def __init__(self, steps: int):
        self.steps, self.ends = steps, []

    def __call__(self, state: br.inference.State) -> None:
        self.ends.append(time.perf_counter())
        if len(self.ends) > self.steps + 3:
            state.stopped = "enough"

    @property
    def milliseconds(self) -> float:
        return 1000 * statistics.median(np.diff(self.ends[3:]))


def split() -> br.data.Split:
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(2000), 30)
    frame = pd.DataFrame({"user": user, "item": rng.integers(0, MOST, len(user))})
    return br.data.split(br.data.from_frame(frame.drop_duplicates()))


def step(data: br.data.Split, rows: int, sparse: bool, steps: int) -> float:
    """Median milliseconds of a step."""
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(data))
    for name in ("user", "item", "history"):
        setattr(model, name, embedding(rows, 32))
    clock = Clock(steps)
    br.fit(
        model,
        data,
        training=br.Training(sparse=sparse, average=0.0),
        callbacks=[clock],
        progress=False,
    )
    return clock.milliseconds


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, nargs="+", default=[1e4, 1e5, 1e6])
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(arguments)
    if min(options.rows) < MOST or options.steps < 1:
        parser.error(f"--rows must be at least {MOST}, the items of the data, and --steps 1")
    torch.set_num_threads(1)
    data = split()
    print("| rows of each table | dense, ms a step | sparse | dense / sparse |\n|---|---|---|---|")
    for rows in map(int, options.rows):
        dense, sparse = (step(data, rows, one, options.steps) for one in (False, True))
        print(f"| {rows:,} | {dense:.1f} | {sparse:.1f} | {dense / sparse:.1f} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
