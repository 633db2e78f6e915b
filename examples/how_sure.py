"""How sure is it? Probabilities with their spread, and whom to serve first.

    .venv/bin/python examples/how_sure.py
    .venv/bin/python examples/how_sure.py --data latest-small --epochs 100

Prints the best item of a few users with its predictive probability and the 90 % interval that the scores
leave open, and what is gained by serving first those users whose list is least in doubt.
"""

from __future__ import annotations

import argparse
import sys

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
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split))
    training = br.Training(learning_rate=1e-2, max_epochs=options.epochs)
    br.fit(model, split, training=training, progress=False)
    posterior = br.Posterior(model, draws=200)

    # Relative to training: a positive stood among four random items.
    best = br.recommend(posterior, users=ratings.user_ids[:8], k=1)
    for row in best.itertuples():
        user, item = model.histories.user_codes([row.user]), model.histories.item_codes([row.item])
        drawn = model.likelihood.probability(posterior.draw_logits(user, item[None]))[:, 0, 0]
        low, high = drawn.quantile(torch.tensor([0.05, 0.95])).tolist()
        print(f"user {row.user}: item {row.item}, p = {drawn.mean():.3f} [{low:.3f}, {high:.3f}]")

    quality = br.evaluate(model, split, ks=(10,)).per_user["ndcg@10"]
    doubt = br.evaluation.list_uncertainty(posterior, split)["doubt"]
    gain = br.evaluation.aurc([quality], [doubt])
    sure = quality[doubt.sort_values().index[: len(doubt) // 4]].mean()
    print(f"ndcg@10 of all users {quality.mean():.3f}, of the quarter least in doubt {sure:.3f}")
    print(f"of what the order of users can gain: {gain['gain']:.0%} ", end="")
    print(f"[{gain['low']:.0%}, {gain['high']:.0%}]")


if __name__ == "__main__":
    try:
        main()
    except (KeyError, ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error.args[0] if isinstance(error, KeyError) else error}")
