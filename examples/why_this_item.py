"""Why this item? The choices of a user that carry a recommendation, and how sure that is.

    .venv/bin/python examples/why_this_item.py
    .venv/bin/python examples/why_this_item.py --data latest-small --user 3 --epochs 100

Prints the best new item of a user, and for each choice that it rests on the share of attention: posterior
mean and 90 % interval.
"""

from __future__ import annotations

import argparse
import sys

import pandas as pd
import torch

import bayes_recsys as br


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", help="name of a data set, ratings file or folder (default: made up)"
    )
    parser.add_argument("--user", default="3", help="user id")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    ratings = br.data.load(options.data) if options.data else br.data.synthetic().interactions
    split = br.data.split(ratings, seed=0)
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split))
    training = br.Training(learning_rate=1e-2, max_epochs=options.epochs)
    br.fit(model, split, training=training, progress=False)

    tree = br.posterior_tree(model, users=[options.user], k=1, draws=500)
    draws = tree["posterior"].to_dataset().isel(chain=0, user=0, item=0)
    weight = draws["item_attention_weight"]  # (draw, history)
    share = weight / weight.sum("history")
    columns = {"share": share.mean("draw")}
    columns |= {f"{level:.0%}": share.quantile(level, "draw") for level in (0.05, 0.95)}
    if "history_title" in draws.coords:
        columns["title"] = draws["history_title"]
    table = pd.DataFrame(
        {name: one.to_numpy() for name, one in columns.items()}, draws["history"].to_numpy()
    )
    item = draws.coords.get("item_title", draws["item"]).item()
    print(f"{item} for user {options.user}, as they chose")
    print(table.sort_values("share", ascending=False).head(10).round(3).to_string())
    print(f"(even attention would be {1 / len(table):.3f})")


if __name__ == "__main__":
    try:
        main()
    except (KeyError, ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error.args[0] if isinstance(error, KeyError) else error}")
