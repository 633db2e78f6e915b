"""Without fit: a model and its guide in a loop of plain Pyro.

    .venv/bin/python examples/plain_svi.py
    .venv/bin/python examples/plain_svi.py --data latest-small

Other batches, optimisers and estimators of Pyro go in the same places. What fit has besides: weights averaged over the steps,
early stopping by held-out items, the best weights, checks, and the same result for the same seed.
"""

from __future__ import annotations

import argparse
import sys

import pyro
import torch
from pyro.infer import SVI, TraceMeanField_ELBO
from pyro.optim import ClippedAdam

import bayes_recsys as br


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", help="name of a data set, ratings file or folder (default: made up)"
    )
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    ratings = br.data.load(options.data) if options.data else br.data.synthetic().interactions
    split = br.data.split(ratings, seed=0)
    histories = br.data.histories(split)
    pyro.set_rng_seed(0)
    model = br.models.BAMF(histories)
    model.likelihood = br.Bernoulli(negatives=4)
    batches = br.data.TrainingBatches(
        split.items_by_user("train"), histories, br.data.negative_sampler(split), negatives=4
    )
    svi = SVI(model.model, model.guide, ClippedAdam({"lr": 1e-2}), TraceMeanField_ELBO())
    for epoch in range(1, options.epochs + 1):
        # To temper: with br.inference.Tempered(0.01, "mean"): around the step.
        losses = torch.tensor([svi.step(batch) for batch in batches.epoch(epoch)])
        print(f"epoch {epoch}: negative ELBO of the data {losses.mean():,.0f}")
    print(br.evaluate(model.eval(), split, ks=(10,)))


if __name__ == "__main__":
    try:
        main()
    except (KeyError, ValueError, OSError, MemoryError) as error:
        sys.exit(f"error: {error.args[0] if isinstance(error, KeyError) else error}")
