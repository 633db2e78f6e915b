"""How near the machine's limit training is, against the usual padded layout, plain PyTorch, and the floor.

    python benchmarks/speed.py --data latest-small --json speed.json

For each model, in turns within one run, so that a busy machine is as busy for all of them:

    ours     an epoch as ``fit`` has it, but for the average of the weights: batches, Pyro's ELBO, AdamW
    plain    the same mathematics without Pyro: the same batches, kernels and optimiser, a loss by hand
    padded   pair by pair, every pair with its whole padded history, 256 pairs a step (bayes_recsys/testing/padded.py)
    floor    the matrix products and normals of ours at the same shapes, nothing else (energy dot)

Each way is a process of its own, of which one works at a time. Seconds are for all training pairs, extrapolated from
the share that was run (``--share``). With ``--quality EPOCHS`` the default model is also trained
in both layouts, with the step sizes each is used with, until the held-out ranking is as good as nine tenths of ours at
its best, and their times are compared.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain, count
from multiprocessing.connection import Connection
from pathlib import Path

import pyro
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

import bayes_recsys as br
from bayes_recsys.data.batches import Batch, TrainingBatches
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.memory import memory_kept
from bayes_recsys.models import BAMF
from bayes_recsys.scores.rows import ScoreRows
from bayes_recsys.testing.padded import PAIRS, Padded
from bayes_recsys.testing.padded import batches as padded_batches
from bayes_recsys.threads import ahead


def both(family: type) -> dict[str, object]:
    """Random scores of every pair on both sides, with a contextual prior: the paper's objective."""
    scores = br.Scores(family(0.1), family(1.0), scope="interaction", prior_mean="contextual")
    return {"user_scores": scores, "item_scores": scores, "strength": "user"}


PAPER = both(br.LogNormal)
ROWS = {
    "default": {},
    "both sides, dot": PAPER,
    "both sides, concat": {**PAPER, "energy": "concat"},
    "both sides, prod": {**PAPER, "energy": "prod"},
    "both sides, dot, gamma": both(br.Gamma),
    "both sides, dot, weibull": both(br.Weibull),
}
SEED = 0


class Study:
    """One model and data, and four ways through its pairs, each saying how many a step did."""

    def __init__(
        self, split: br.data.Split, options: dict[str, object], dim: int, threads: int = 1
    ):
        self.threads = threads
        self.split, self.histories = split, br.data.histories(split)
        torch.manual_seed(SEED)
        self.model = BAMF(self.histories, embedding_dim=dim, **options).train()
        positives, sampler = split.items_by_user("train"), negative_sampler(split)
        self.batches = TrainingBatches(positives, self.histories, sampler, 4, pairs=1024)
        self.n_pairs = 5 * len(positives.values)
        self.objective = br.Objective()

    def ours(self) -> Iterator[int]:
        def loss(batch: Batch) -> None:
            self.objective.loss_and_grads(self.model, batch, per=self.n_pairs)

        return self._steps(ahead(self._epochs(), self.threads), loss, 2e-3)

    def plain(self) -> Iterator[int]:
        def loss(batch: Batch) -> None:
            (self._plain(batch) * (batch.scale / self.n_pairs)).backward()

        return self._steps(ahead(self._epochs(), self.threads), loss, 2e-3)

    def _plain(self, batch: Batch) -> torch.Tensor:
        sites, strengths, divergence = self.model.attend(batch), {}, 0.0
        for name, site in sites.items():
            if not site.attention.is_random:
                strengths[name] = site.expected_log_power()
                continue
            q = ScoreRows(site.guide(), site.present, validate_args=False)
            p = ScoreRows(site.prior(), site.present, validate_args=False)
            score = q.rsample()
            share = batch.share[:, None] if site.attention.of_user else 1.0
            divergence = divergence + ((q.log_prob(score) - p.log_prob(score)) * share).sum()
            strengths[name] = site.log_power(score)
        logits = self.model.logits_of(batch, sites, self.model.strengths(strengths))
        nll = bce(logits, batch.label, weight=batch.mask.float(), reduction="sum")
        return nll + divergence

    def _epochs(self) -> Iterator[Batch]:
        return chain.from_iterable(map(self.batches.epoch, count(1)))

    def padded(self) -> Iterator[int]:
        model = Padded(self.model, self.split.items_by_user("train").lengths)

        def loss(batch: tuple[torch.Tensor, ...]) -> None:
            (model.loss(*batch) / PAIRS).backward()

        epochs = (padded_batches(self.split, self.histories, seed) for seed in count())
        return self._steps(chain.from_iterable(epochs), loss, 1e-3)

    def _steps(self, batches: Iterator, loss: Callable, rate: float) -> Iterator[int]:
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, fused=True)
        for batch in batches:
            loss(batch)
            optimizer.step()
            optimizer.zero_grad()
            yield int(batch.mask.sum()) if isinstance(batch, Batch) else len(batch[0])

    def floor(self) -> Iterator[int]:
        sides = [self.model.user_attention, self.model.item_attention]
        for batch in self._epochs():
            blocks, targets = batch.item.shape
            length, dim = batch.history.shape[1], self.model.user.embedding_dim
            query, key = torch.ones(blocks, targets, dim), torch.ones(blocks, length, dim)
            for side in sides:
                queries = query if side.by_target else query[:, :1]
                rows = query if side.by_target or not side.of_user else query[:, :1]
                energy = torch.empty(*queries.shape[:2], length)
                torch.bmm(queries, key.mT, out=energy)
                table = torch.empty(*rows.shape[:2], length)
                if side.is_random:
                    table.normal_()
                torch.bmm(table, key)  # contexts
                torch.bmm(rows, key.mT, out=table)  # the gradient of the scores
                torch.bmm(table.mT, rows)  # of the values
                torch.bmm(energy, key)  # of the queries
                torch.bmm(energy.mT, queries)  # of the keys
            yield int(batch.mask.sum())


class Way:
    """One way through the pairs, in a process of its own that works when told to."""

    def __init__(self, name: str, row: str, threads: int, options: argparse.Namespace):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, name, row, threads, options)
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is seen
        self.pipe.recv()  # ready

    def seconds(self, pairs: int) -> float:
        """Of one pair, over the next so many."""
        self.pipe.send(pairs)
        found, self.megabytes = self.pipe.recv()
        return found

    def end(self) -> None:
        self.pipe.send(0)
        self.process.join()


def work(pipe: Connection, name: str, row: str, threads: int, options: argparse.Namespace) -> None:
    # Ours and plain use threads as fit does, padded and floor as torch does.
    torch.set_num_threads(threads if name in ("padded", "floor") else 1)
    split = br.data.split(br.data.load(options.data))
    study = Study(split, ROWS[row], options.embedding_dim, threads)
    steps = getattr(study, name)()
    pipe.send("ready")
    pyro.enable_validation(False)  # as fit has it after the first batch
    with nullcontext() if name == "padded" else memory_kept():
        while pairs := pipe.recv():
            started, done = time.perf_counter(), 0
            while done < pairs:
                done += next(steps)
            spent = (time.perf_counter() - started) / done
            pipe.send((spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measured(row: str, threads: int, n_pairs: int, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of an epoch, and ratios as medians over rounds; a first round warms up."""
    names = ["ours", "plain", "padded"] + (["floor"] if "dot" in row or row == "default" else [])
    ways = {name: Way(name, row, threads, options) for name in names}
    share = int(n_pairs * options.share / (1 + options.rounds))
    shares = {name: max(8 * PAIRS, share // 10) if name == "padded" else share for name in names}
    rounds = [
        {name: way.seconds(shares[name]) for name, way in ways.items()}
        for _ in range(1 + options.rounds)
    ]
    for way in ways.values():
        way.end()

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(map(of, rounds[1:]))

    found = {f"{name}_seconds": n_pairs * median(lambda r, n=name: r[n]) for name in names}
    found["speedup_over_padded"] = median(lambda r: r["padded"] / r["ours"])
    found["pyro_overhead"] = median(lambda r: r["ours"] / r["plain"]) - 1
    if "floor" in names:
        found["fraction_of_floor"] = median(lambda r: r["floor"] / r["ours"])
    found["peak_megabytes"] = ways["ours"].megabytes
    found["peak_memory_ratio"] = ways["ours"].megabytes / ways["padded"].megabytes
    return found


COLUMNS = {
    "ours_seconds": "epoch, s", "plain_seconds": "plain, s", "padded_seconds": "padded, s",
    "speedup_over_padded": "padded / ours", "fraction_of_floor": "floor / ours",
    "pyro_overhead": "Pyro adds", "peak_megabytes": "peak, MB", "peak_memory_ratio": "of padded's",
}  # fmt: skip


def table(rows: dict[str, dict[str, float]]) -> str:
    lines = [f"| model | {' | '.join(COLUMNS.values())} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name, row in rows.items():
        cells = [f"{row[c]:.3g}" if c in row else "" for c in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def to_quality(split: br.data.Split, options: argparse.Namespace) -> dict[str, object]:
    """Training seconds until nine tenths of the best held-out NDCG@10 of ours."""
    monitor, curves, target = br.Monitor.as_published(), {}, float("inf")
    for way in ("ours", "padded"):
        study, spent, curve = Study(split, {}, options.embedding_dim), 0.0, []
        steps = getattr(study, way)()
        for epoch in range(1, options.quality + 1):
            started, done = time.perf_counter(), 0
            while done < study.n_pairs:
                done += next(steps)
            spent += time.perf_counter() - started
            curve.append((spent, monitor.measure(study.model, split, SEED)))
            print(f"{way} epoch {epoch}: {spent:.0f} s, NDCG@10 {curve[-1][1]:.3f}", flush=True)
            if way == "padded" and curve[-1][1] >= target:
                break
        curves[way] = curve
        if way == "ours":
            target = 0.9 * max(value for _, value in curve)
    reached = {w: next((s for s, v in c if v >= target), float("nan")) for w, c in curves.items()}
    return {
        "time_to_quality_speedup": reached["padded"] / reached["ours"],
        "target": target,
        **curves,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", default="100k", help="name of a data set, ratings file or folder")
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    add("--threads", type=int, nargs="+", default=[1, 2])
    add(
        "--share",
        type=float,
        default=0.5,
        help="of an epoch that is run, the padded way a tenth of it",
    )
    add("--rounds", type=int, default=9, help="ratios are medians over them")
    add("--embedding-dim", type=int, default=32)
    add("--quality", type=int, default=0, metavar="EPOCHS", help="train both to a quality; long")
    add("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(arguments)
    split = br.data.split(br.data.load(options.data))
    n_pairs = 5 * len(split.train)
    print(
        f"{split.interactions}, {n_pairs:,} pairs; {platform.machine()}, torch {torch.__version__}"
    )
    rows: dict[str, dict[str, float]] = {}
    for threads in options.threads:
        for name in options.rows:
            row = rows[f"{name}, {threads} threads"] = measured(name, threads, n_pairs, options)
            print(f"{name}, {threads} threads: {row}", flush=True)
    print(f"\n{table(rows)}\n")
    report = {"data": str(split.interactions), "rows": rows}
    if options.quality:
        torch.set_num_threads(1)
        with pyro.validation_enabled(False), memory_kept():
            report |= to_quality(split, options)
        print(
            f"to a held-out NDCG@10 of {report['target']:.3f}: {report['time_to_quality_speedup']:.1f} times faster"
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
