"""Train many models on the same splits and rank the same test items with each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_recsys.data.interactions import Interactions
from bayes_recsys.data.simulation import synthetic
from bayes_recsys.data.splits import Split, leave_one_out, split, timeline
from bayes_recsys.evaluation.comparison import compare
from bayes_recsys.evaluation.plots import plot_comparison
from bayes_recsys.evaluation.protocols import PROTOCOLS
from bayes_recsys.experiments.published import SETTINGS
from bayes_recsys.experiments.runs import Run, keep_split, measure
from bayes_recsys.experiments.settings import BASELINES, Baseline, Setting
from bayes_recsys.experiments.tables import SHOWN, evaluations, markdown, table

SPLITS = ("random", "leave-one-out", "timeline")


@dataclass(frozen=True)
class Plan:
    """What is compared, and by what.

    Args:
        models: Names of baselines and settings; none: all there are.
        split: ``"random"`` (8:1:1 of each user), ``"leave-one-out"`` or ``"timeline"``.
        settings: ``"tuned"``, ``"published"`` or ``"public-code"``.
        seeds: Number of seeds. A seed decides split, initial weights, negatives and draws.
        against: What the others are compared with; by default EASE, or the first model if it is not
            among them.
        epochs: Most of each model.
        negatives_exclude: ``"train"``, or ``"all"``: a leak, for comparison only.

    Raises:
        ValueError: A name is unknown, or a number below 1.

    Example:
        >>> Plan(models=["popularity", "GMF"]).reference
        'popularity'
    """

    models: Sequence[str] = ()
    split: str = "random"
    settings: str = "tuned"
    seeds: int = 5
    against: str | None = None
    epochs: int = 100
    negatives_exclude: str = "train"

    def __post_init__(self) -> None:
        if self.settings not in SETTINGS:
            raise ValueError(f"settings must be one of {', '.join(SETTINGS)}, not {self.settings}")
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        known = {**BASELINES, **SETTINGS[self.settings]}
        unknown = [name for name in self.models if name not in known]
        if unknown:
            raise ValueError(f"models: no {unknown[0]!r} among {', '.join(map(repr, known))}")
        object.__setattr__(self, "models", tuple(dict.fromkeys(self.models or known)))
        if self.against is not None and self.against not in self.models:
            raise ValueError(f"against: {self.against!r} is not among the models")
        if min(self.seeds, self.epochs) < 1:
            raise ValueError("seeds and epochs must be at least 1")

    @property
    def reference(self) -> str:
        """The name of the model that the others are compared with."""
        return self.against or ("EASE" if "EASE" in self.models else self.models[0])

    @property
    def leaks(self) -> bool:
        """Whether a model's negatives say what is held out."""
        return self.negatives_exclude == "all" and not set(self.models) <= set(BASELINES)

    def smoke(self) -> Plan:
        """The same with one seed and two epochs."""
        return replace(self, seeds=1, epochs=2)

    def held_out(self, data: Interactions, seed: int) -> Split:
        """The split of a seed; that in time is the same for all."""
        if self.split == "timeline":
            return timeline(data)
        return (leave_one_out if self.split == "leave-one-out" else split)(data, seed=seed)

    def overlap(self, data: Interactions) -> float:
        """Test items for each training item of splits that the seeds draw; 0 where they share one."""
        by_time = self.split == "leave-one-out" and data.timestamp is not None
        if self.split == "timeline" or by_time:
            return 0.0
        parts = self.held_out(data, 0)
        return len(parts.test) / len(parts.train)

    def way(self, name: str, seed: int) -> Setting | Baseline:
        """How the model of that name is made, with this seed."""
        if name in BASELINES:
            return BASELINES[name]
        setting = SETTINGS[self.settings][name]
        training = replace(
            setting.training,
            max_epochs=self.epochs,
            negatives_exclude=self.negatives_exclude,
            seed=seed,
        )
        return replace(setting, training=training)

    def about(self, name: str, data: Interactions, seed: int) -> dict[str, Any]:
        """What a finished run must agree in to be one of this plan."""
        record = self.way(name, seed).record()
        return {"data": str(data), "split": f"{self.split}, seed {seed}", **record}


def toy_data() -> Interactions:
    """Enough for every model to be trained, and no more."""
    return synthetic(n_users=60, n_items=80, length=(10, 20)).interactions


def compare_models(data: Interactions, plan: Plan, out: Path) -> pd.DataFrame:
    """Do the runs that are not there, and write and print the table of all.

    Writes a folder for each run, the splits, and ``comparison.csv``, ``comparison.md`` and
    ``comparison.png``.

    Args:
        data: What is split.
        plan: What is compared.
        out: Folder for what is written.

    Returns:
        The table, as :func:`~bayes_recsys.experiments.tables.table` makes it, by falling mean.

    Raises:
        ValueError: The folder holds other runs or splits, or runs that did not rank the same cases.
    """
    print(data)
    runs: dict[str, list[Run]] = {}
    for name, seed, run in _runs(data, plan, out):
        runs.setdefault(name, []).append(run)
        full, sampled = (run.evaluations[one].per_user[SHOWN].mean() for one in PROTOCOLS)
        print(f"{name}, seed {seed}: {SHOWN} {full:.3f} full, {sampled:.3f} 1:99", flush=True)
    against, overlap = plan.reference, plan.overlap(data)
    frame = table(runs, against, overlap).sort_values(f"full {SHOWN} mean", ascending=False)
    frame.to_csv(out / "comparison.csv", index_label="model")
    text = markdown(frame, against)
    (out / "comparison.md").write_text(text + "\n")
    compared = compare(evaluations(runs, "full"), SHOWN, against=against, overlap=overlap)
    picture = plot_comparison(compared, metric=f"NDCG@10, full, {data.name}")
    picture.savefig(out / "comparison.png", dpi=150)
    print(f"\n{text}\n\n*: significant after adjustment for their number (Holm), p < 0.05\n")
    if plan.leaks:
        print("Held-out items were never drawn as negatives: a leak. Not comparable with others.\n")
    print(f"Written to {out}: comparison.csv, comparison.md, comparison.png")
    return frame


def _runs(data: Interactions, plan: Plan, out: Path) -> Iterator[tuple[str, int, Run]]:
    """Name, seed and run; one that is there is read."""
    out.mkdir(parents=True, exist_ok=True)
    for seed in range(plan.seeds):
        parts = plan.held_out(data, seed)
        keep_split(parts, out / f"split-{seed}.csv")
        for name in plan.models:
            folder = out / f"{name.replace(',', '').replace(' ', '-')}-{seed}"
            about = plan.about(name, data, seed)
            if not (folder / "run.json").exists():
                measure(plan.way(name, seed), parts, seed, about).save(folder)
            yield name, seed, Run.load(folder, about)
