"""What does another prior change? The same BAMF with three families of prior.

    .venv/bin/python examples/swap_priors.py
    .venv/bin/python examples/swap_priors.py --data latest-small --epochs 100

Prints of each how it ranks, how probable it finds held-out choices (nats a pair; less is better), and by
how much the data narrowed its scores.
"""

from __future__ import annotations

import argparse

import pandas as pd
import torch

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
    training = br.Training(learning_rate=1e-2, max_epochs=options.epochs)

    rows = {}
    for prior in (br.LogNormal(scale=1.0), br.Gamma(scale=1.0), br.Weibull(scale=1.0)):
        torch.manual_seed(0)
        scores = br.Scores(guide=br.LogNormal("learned"), prior=prior)
        model = br.models.BAMF(br.data.histories(split), user_scores=scores)
        br.fit(model, split, training=training, progress=False)
        rows[repr(prior)] = {
            "ndcg@10": br.evaluate(model, split, ks=(10,)).per_user["ndcg@10"].mean(),
            "nll": br.predictive_nll(model, split).mean(),
            "contraction": br.score_summary(model)["contraction"].mean(),
        }
    print(pd.DataFrame.from_dict(rows, orient="index").round(3).to_string())


if __name__ == "__main__":
    main()
