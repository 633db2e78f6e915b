"""The table of results: models × data × splits × seeds, as examples/compare_models.py compares them.

    python benchmarks/table.py --data latest-small 100k --out runs/table
    python benchmarks/table.py --smoke

One row at a time: a run that is there is not repeated, so that it can be stopped and resumed, or shared by
processes with different --models and put together by a last one without. Writes for each data set and split
what compare_models.py writes, and table.csv and table.md with all of it, the date, the versions and the
machine.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

import bayes_recsys as br
from bayes_recsys.experiments.comparison import SPLITS, Plan, compare_models, toy_data

PACKAGES = ("bayes_recsys", "torch", "pyro-ppl", "numpy", "scikit-learn", "implicit")


def circumstances() -> str:
    """When, with what and on what the table was made."""
    versions = ", ".join(f"{package} {installed(package)}" for package in PACKAGES)
    python = platform.python_version()
    machine = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores"
    return f"{datetime.date.today()}; Python {python}, {versions}; {machine}"


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", nargs="+", default=["latest-small", "100k"], help="names, files or folders")
    add("--split", nargs="+", choices=SPLITS, default=["random"])
    add("--models", nargs="+", default=(), help="names as in compare_models.py (default: all)")
    add("--seeds", type=int, default=Plan().seeds, help="(default: %(default)s)")
    add("--out", type=Path, default=Path("runs/table"), help="folder for what is written")
    add("--smoke", action="store_true", help="toy data, two epochs")
    options = parser.parse_args(arguments)
    names = [Path(data).stem for data in options.data]
    if len(set(names)) < len(names):
        parser.error("--data: two of them have the same name, and would share a folder")
    try:
        plans = [
            Plan(models=options.models, split=split, seeds=options.seeds) for split in options.split
        ]
    except ValueError as error:
        parser.error(str(error))
    frames, pages = {}, []
    for data in options.data[:1] if options.smoke else options.data:
        ratings = toy_data() if options.smoke else br.data.load(data)
        for plan in plans:
            folder = options.out / Path(data).stem / plan.split
            if options.smoke:
                plan, folder = plan.smoke(), folder / "smoke"
            compare_models(ratings, plan, folder)
            frames[Path(data).stem, plan.split] = pd.read_csv(folder / "comparison.csv")
            text = (folder / "comparison.md").read_text()
            pages.append(f"## {Path(data).stem}, {plan.split} split\n\n{text}")
    table = pd.concat(frames, names=["data", "split"]).droplevel(2)
    table.to_csv(options.out / "table.csv")
    text = "\n".join([*pages, circumstances()])
    (options.out / "table.md").write_text(text + "\n")
    print(f"\n{text}\n\nWritten to {options.out}: table.csv, table.md")


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        sys.exit(f'error: {error}; install the rest with pip install -e ".[benchmarks]"')
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: finished runs are kept; the same command goes on from there")
