"""Stop training at any step and go on from there: the result is that of a run without a stop.

    .venv/bin/python examples/stop_and_resume.py
    .venv/bin/python examples/stop_and_resume.py --data latest-small --state runs/state.pt

Start it, interrupt it (Ctrl-C), start it again. With --stop-after it interrupts itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

import bayes_recsys as br
from bayes_recsys.inference import Checkpoint, State


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", help="name of a data set, ratings file or folder (default: made up)"
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--state", type=Path, default=Path("runs/state.pt"), help="where it is kept"
    )
    parser.add_argument("--stop-after", type=int, help="stop after so many epochs")
    options = parser.parse_args()
    ratings = br.data.load(options.data) if options.data else br.data.synthetic().interactions
    split = br.data.split(ratings, seed=0)
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split))

    def stop(state: State) -> None:
        """Called after every batch and every epoch."""
        if state.position == 0 and state.epoch == options.stop_after:
            state.stopped = "asked to"

    if options.state.exists():
        print(f"going on from {options.state}")
    keep = Checkpoint(options.state, every=10)  # written every ten batches, and when interrupted
    training = br.Training(learning_rate=1e-2, max_epochs=options.epochs)
    fit = br.fit(model, split, training=training, checkpoint=keep, callbacks=[stop])
    print(f"ended: {fit.stopped}; kept epoch {fit.best_epoch} of {len(fit.history)}")
    if fit.stopped in ("epochs", "patience"):
        options.state.unlink()


if __name__ == "__main__":
    try:
        main()
    except (KeyError, ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error.args[0] if isinstance(error, KeyError) else error}")
