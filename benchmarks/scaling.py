"""How time and memory grow with the data: 10⁵, 10⁶ and 10⁷ interactions, and the exponents.

    python benchmarks/scaling.py --figure docs/scaling.png

Random interactions with popular and rare items, a hundred a user. For each size, in a process of its own: seconds to
split the data and make histories, of an epoch (extrapolated from ``--steps`` steps of the default model), of its batches
alone, of a full ranking and of recommendations (extrapolated from ``--users`` users), and peak memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyro
import torch
from matplotlib.figure import Figure

import bayes_recsys as br
from bayes_recsys.data.batches import TrainingBatches
from bayes_recsys.evaluation.ranking import rank
from bayes_recsys.memory import memory_kept
from bayes_recsys.threads import one_thread

PER_USER = 100
COLUMNS = {
    "data": "split and histories, s",
    "batches": "batches of an epoch, s",
    "epoch": "epoch, s",
    "ranking": "full ranking of all users, s",
    "recommend": "recommendations for 1,000 users, s",
    "megabytes": "peak memory, MB",
}


def interactions(size: int, seed: int = 0) -> br.data.Interactions:
    """So many, or somewhat fewer, as repeated ones are dropped."""
    rng = np.random.default_rng(seed)
    n_users = size // PER_USER
    n_items = int(10 * np.sqrt(size))
    user = np.repeat(np.arange(n_users), PER_USER)
    item = (rng.random(len(user)) ** 3 * n_items).astype(np.int64)
    frame = pd.DataFrame({"user": user, "item": item}).drop_duplicates()
    return br.data.from_frame(frame, name=f"{size:.0e}")


def measure(size: int, steps: int, n_users: int) -> dict[str, float]:
    """One row, measured here."""
    with one_thread(), pyro.validation_enabled(False):
        return _measure(size, steps, n_users)


def _measure(size: int, steps: int, n_users: int) -> dict[str, float]:
    data = interactions(size)
    started = time.perf_counter()
    split = br.data.split(data)
    histories = br.data.histories(split)
    row = {"interactions": len(data), "data": time.perf_counter() - started}
    batches = TrainingBatches(
        split.items_by_user("train"), histories, br.data.negative_sampler(split), 4, pairs=1024
    )
    torch.manual_seed(0)
    model = br.models.BAMF(histories)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    objective = br.Objective()
    in_batches = in_steps = 0.0
    with memory_kept():
        epoch = batches.epoch(1)
        next(epoch)  # with what an epoch begins with
        started = time.perf_counter()
        number = 0
        for batch in islice(epoch, steps):
            number += 1
            made = time.perf_counter()
            objective.loss_and_grads(model, batch, per=batch.scale)
            optimizer.step()
            optimizer.zero_grad()
            done = time.perf_counter()
            in_batches += made - started
            in_steps += done - made
            started = done
    row["batches"] = in_batches * batch.scale / number
    row["epoch"] = (in_batches + in_steps) * batch.scale / number
    n_users = min(n_users, data.n_users)
    some = np.random.default_rng(1).choice(data.n_users, n_users, replace=False)
    keep = np.isin(data.user[split.test], some)
    started = time.perf_counter()
    rank(model, replace(split, test=split.test[keep]), "full", "test", (10,), 0)
    row["ranking"] = (time.perf_counter() - started) * data.n_users / n_users
    started = time.perf_counter()
    br.recommend(model, data.user_ids[some])
    row["recommend"] = (time.perf_counter() - started) * 1000 / n_users
    row["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row


def exponents(rows: pd.DataFrame) -> dict[str, float]:
    """Slopes of logarithms over the logarithm of the interactions."""
    size = np.log(rows["interactions"])
    return {c: float(np.polyfit(size, np.log(rows[c]), 1)[0]) for c in COLUMNS}


def table(rows: pd.DataFrame) -> str:
    lines = [
        f"| interactions | {' | '.join(COLUMNS.values())} |",
        "|---" * (1 + len(COLUMNS)) + "|",
    ]
    for _, row in rows.iterrows():
        cells = " | ".join(f"{row[c]:.3g}" if row[c] < 100 else f"{row[c]:,.0f}" for c in COLUMNS)
        lines.append(f"| {row['interactions']:,.0f} | {cells} |")
    if len(rows) > 1:
        cells = " | ".join(f"{value:.2f}" for value in exponents(rows).values())
        lines.append(f"| exponent | {cells} |")
    return "\n".join(lines)


def picture(rows: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    for column in COLUMNS:
        axes = memory if column == "megabytes" else seconds
        axes.loglog(rows["interactions"], rows[column], marker="o", label=COLUMNS[column])
    for axes in (seconds, memory):
        axes.set_xlabel("interactions")
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--sizes", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    add("--steps", type=int, default=100, help="of an epoch, that are run")
    add("--users", type=int, default=100, help="that are ranked for")
    add("--figure", type=Path)
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    found = []
    for size in options.sizes:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            row = process.submit(measure, int(size), options.steps, options.users)
            found.append(row.result())
        print(found[-1], flush=True)
    rows = pd.DataFrame(found)
    print(f"\n{table(rows)}")
    if options.figure:
        picture(rows).savefig(options.figure, dpi=110)
    if options.json:
        options.json.write_text(json.dumps({"rows": found, "exponents": exponents(rows)}, indent=1))


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"error: {error}")
