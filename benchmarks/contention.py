"""Seconds of an epoch on a machine that is shared: alone, beside one and beside two busy processes.

    python benchmarks/contention.py --data latest-small

The default model, trained by ``fit`` with one thread and with two; the busy processes multiply matrices.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor

import torch

import bayes_recsys as br


def busy() -> None:
    """Until it is ended."""
    torch.set_num_threads(1)
    table = torch.randn(500, 500)
    while True:
        table = (table @ table).tanh()


def epoch(data: str, threads: int, beside: int, epochs: int) -> float:
    """Median seconds of an epoch after the first."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=busy, daemon=True) for _ in range(beside)]
    for other in others:
        other.start()
    try:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return process.submit(train, data, threads, epochs).result()
    finally:
        for other in others:
            other.kill()


def train(data: str, threads: int, epochs: int) -> float:
    torch.set_num_threads(threads)
    split = br.data.split(br.data.load(data))
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split))
    training = br.Training(max_epochs=1 + epochs, monitor=br.Monitor(every=1 + epochs))
    fit = br.fit(model, split, br.Objective(), training, progress=False)
    return statistics.median(fit.history["seconds"].tolist()[1:])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="100k", help="name of a data set, ratings file or folder")
    parser.add_argument("--epochs", type=int, default=3, help="timed, after one to warm up")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1, 2], help="busy processes")
    options = parser.parse_args(arguments)
    print(f"| threads | {' | '.join(f'beside {n}' for n in options.beside)} |")
    print("|---" * (1 + len(options.beside)) + "|")
    for threads in options.threads:
        seconds = [epoch(options.data, threads, n, options.epochs) for n in options.beside]
        print(f"| {threads} | {' | '.join(f'{s:.2f} s' for s in seconds)} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
