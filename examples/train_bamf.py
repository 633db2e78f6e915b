"""Train BAMF on a ratings data set, evaluate it, and look at its posterior.

    .venv/bin/python examples/train_bamf.py --data 100k --out demo
    .venv/bin/python examples/train_bamf.py --data latest-small --as published --energy prod

Writes into the output folder: metrics.json, recommendations.csv, posterior.nc (open it with
ArviZ), attention.png, history.csv, loss.png and model/ (load it with bayes_recsys.load_model).

A family of scores of your own is known to --guide and --prior by its name if you define it, or import the
file that does, above.
"""

from __future__ import annotations

import sys

from bayes_recsys.experiments.options import parse
from bayes_recsys.experiments.training import run

if __name__ == "__main__":
    try:
        run(parse())
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as interrupted:
        written = str(interrupted) or "what was written before is complete, the rest is missing"
        sys.exit(f"interrupted: {written}")
