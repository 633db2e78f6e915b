"""What does another prior change? The same model with three families of prior.

    .venv/bin/python examples/swap_priors.py
    .venv/bin/python examples/swap_priors.py --data latest-small --epochs 100
    .venv/bin/python examples/swap_priors.py --model DRNet --guide weibull --prior gamma

Prints of each how it ranks, how probable it finds held-out choices (nats a pair; less is better), and by
how much the data narrowed its scores.
"""

from __future__ import annotations

import argparse
import sys

import pandas as pd
import torch

import bayes_recsys as br

MODELS = {
    "BAMF": br.models.BAMF,
    "NAIS": br.models.NAIS,
    "association": br.models.Association,
    "DRNet": br.models.DRNet,
    "DELF": br.models.DELF,
}
FAMILIES: dict[str, type[br.LogNormal | br.Gamma | br.Weibull]] = {
    "lognormal": br.LogNormal,
    "gamma": br.Gamma,
    "weibull": br.Weibull,
}


def build(name: str, histories: br.data.Histories, guide: str, prior: str) -> br.models.Model:
    """A model whose user's (or only) attention has these scores."""
    # NAIS compares every target with the history, so that its scores are of pairs.
    scope = "interaction" if name == "NAIS" else "user"
    scores = br.Scores(FAMILIES[guide]("learned"), FAMILIES[prior](1.0), scope=scope)
    torch.manual_seed(0)
    if name == "BAMF":
        return br.models.BAMF(histories, user_scores=scores)
    return MODELS[name](histories, scores=scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", help="name of a data set, ratings file or folder (default: made up)"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--model", choices=MODELS, default="BAMF")
    parser.add_argument("--guide", choices=FAMILIES, default="lognormal", help="learned width")
    parser.add_argument("--prior", choices=FAMILIES, nargs="+", default=list(FAMILIES))
    options = parser.parse_args()
    ratings = br.data.load(options.data) if options.data else br.data.synthetic().interactions
    split = br.data.split(ratings, seed=0)
    training = br.Training(learning_rate=1e-2, max_epochs=options.epochs)

    rows = {}
    for prior in options.prior:
        model = build(options.model, br.data.histories(split), options.guide, prior)
        br.fit(model, split, training=training, progress=False)
        rows[f"{options.guide} guide, {prior} prior"] = {
            "ndcg@10": br.evaluate(model, split, ks=(10,)).per_user["ndcg@10"].mean(),
            "nll": br.predictive_nll(model, split).mean(),
            "contraction": br.score_summary(model)["contraction"].mean(),
        }
    print(pd.DataFrame.from_dict(rows, orient="index").round(3).to_string())


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
