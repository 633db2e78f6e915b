"""Seconds of a training epoch and of an evaluation, by energy.

    python benchmarks/epoch.py --data latest-small

Trains each energy for a few epochs after one to warm up and prints the median and the range.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import bayes_recsys as br
from bayes_recsys.experiments import Setting
from bayes_recsys.models import BAMF, Options
from bayes_recsys.nn import ENERGIES


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="100k", help="name of a data set, ratings file or folder")
    parser.add_argument("--energy", nargs="+", choices=ENERGIES, default=list(ENERGIES))
    parser.add_argument("--epochs", type=int, default=3, help="timed, after one to warm up")
    parser.add_argument("--embedding-dim", type=int, default=32)
    options = parser.parse_args(arguments)
    interactions = br.data.load(options.data)
    split = br.data.split(interactions, seed=0)
    pairs = 5 * len(split.train)
    print(f"{interactions}\n{pairs:,} pairs an epoch, {torch.get_num_threads()} threads")
    for energy in options.energy:
        epochs = options.epochs + 1
        model = Options(BAMF, {"energy": energy, "embedding_dim": options.embedding_dim})
        training = br.Training(max_epochs=epochs, patience=epochs)
        fit = Setting(model, training=training).fit(split)
        seconds = fit.history["seconds"].tolist()[1:]
        line = f"{energy:6s} epoch {statistics.median(seconds):6.2f} s"
        line += f" ({min(seconds):.2f} .. {max(seconds):.2f})"
        for protocol in ("sampled", "full"):
            started = time.perf_counter()
            br.evaluate(fit.model, split, protocol=protocol)
            line += f", {protocol} evaluation {time.perf_counter() - started:.2f} s"
        print(line, flush=True)


if __name__ == "__main__":
    main()
