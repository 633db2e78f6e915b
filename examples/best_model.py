"""Item similarity with a kernel in closed form, beside EASE: what ranks best here.

    .venv/bin/python examples/best_model.py
    .venv/bin/python examples/best_model.py --data lastfm --out runs/best

Prints how the test items rank among the whole catalogue, the difference from EASE with its 95 % interval over users,
and what a recommendation is the sum of, with 90 % intervals. The validation part chooses the epoch, the kernel and
EASE's penalty. Writes the model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
import torch

import bayes_recsys as br
from bayes_recsys.experiments.ratings import add_ratings, load_ratings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add_ratings(parser)
    parser.add_argument("--epochs", type=int, default=60, help="at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/best"), help="folder for the model")
    options = parser.parse_args()
    split = br.data.split(load_ratings(options), seed=options.seed)
    print(split)

    torch.manual_seed(options.seed)
    model = br.models.ItemSimilarity(br.data.histories(split, max_length=10**6))
    training = br.Training(
        max_epochs=options.epochs,
        patience=20,
        average=0.995,
        history_dropout=0.7,
        seed=options.seed,
    )
    fit = br.fit(model, split, br.Objective(br.Softmax()), training)
    if fit.stopped == "interrupted":
        raise KeyboardInterrupt
    tried = br.inference.choose_kernel(model, split)
    print(f"\nThe kernel, by the validation part:\n{tried.round(4).to_string(index=False)}\n")
    br.save_model(model, options.out / "model")

    ease = br.baselines.EASE(split, l2=model.kernel.l2)
    evaluations = {
        "EASE": [br.evaluate(ease, split)],
        "item similarity": [br.evaluate(model, split)],
    }
    for metric in ("ndcg@10", "recall@10"):
        print(f"{metric}\n{br.compare(evaluations, metric, against='EASE').round(4).to_string()}\n")
    explain(model, split.interactions.user_ids[0])
    print(f"Written to {options.out / 'model'}")


def explain(model: br.models.ItemSimilarity, name: str) -> None:
    """What a user's best new item is the sum of."""
    best = br.recommend(model, users=[name], k=1).iloc[0]
    user, item = (
        model.histories.user_codes([name]),
        model.histories.item_codes([best["item"]])[None],
    )
    weights = br.draw(model, user, item, draws=400).weights["attention"]
    drawn = model.contributions(user, item, weights)[:, 0, 0]
    choices = model.histories.history.row(int(user))
    names = model.histories.item_ids if model.histories.titles is None else model.histories.titles
    low, high = drawn.quantile(torch.tensor([0.05, 0.95]), dim=0)
    table = pd.DataFrame(
        {"adds": model.contributions(user, item)[0, 0], "5 %": low, "95 %": high},
        index=names[choices.numpy()],
    ).sort_values("adds", ascending=False)
    total, bias = table["adds"].sum(), model.item_bias[item].item()
    print(f"{names[int(item)]} for user {name}: {total + bias:.2f} = {bias:.2f} of its own")
    print(f"and {total:.2f} of {len(table)} choices, of which the five that add most:")
    print(f"{table.head(5).round(3).to_string()}\n")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
