"""A Markdown table of finished runs, from the metrics.json each of them left.

python benchmarks/runs.py runs/bamf runs/leak
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

METRICS = ("ndcg@10", "hr@10")


def cell(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def row(name: str, protocols: dict, epochs: str) -> str:
    cells = [cell(protocols[p][m]) for p in ("full", "sampled") for m in METRICS]
    return f"| {' | '.join([name, *cells, epochs])} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "run", nargs="+", type=Path, help="output folders of examples/train_bamf.py"
    )
    folders = parser.parse_args(arguments).run
    runs = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    print("| run | full NDCG@10 | full HR@10 | 1:99 NDCG@10 | 1:99 HR@10 | kept epoch |")
    print("|---|---|---|---|---|---|")
    seen = set()
    for folder, run in zip(folders, runs, strict=True):
        data, seed = run["dataset"]["name"], run["seed"]
        if (data, seed) not in seen:
            print(row(f"{data}, popularity", run["popularity"], ""))
            seen.add((data, seed))
        print(row(f"{data}, {folder.name}", run["protocols"], f"{run['best_epoch']}"))


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"error: not the folder of a finished run: {error}")
