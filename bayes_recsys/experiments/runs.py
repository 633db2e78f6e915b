"""One run of a comparison: train, rank, and keep what was measured in a folder."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bayes_recsys.data.interactions import DataWarning
from bayes_recsys.data.saved_split import load_split, save_split
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.calibration import calibration_error, smooth_error
from bayes_recsys.evaluation.probability import evaluate_pairs, predicted_pairs
from bayes_recsys.evaluation.protocols import PROTOCOLS
from bayes_recsys.evaluation.ranking import Scorer, evaluate
from bayes_recsys.evaluation.result import Evaluation
from bayes_recsys.experiments.settings import Baseline, Setting
from bayes_recsys.likelihoods import NoProbability
from bayes_recsys.posterior.predictive import Posterior
from bayes_recsys.records import read_json, write_json

PROBABILITY = "probability"
KINDS = (*PROTOCOLS, PROBABILITY)
CHOICE = "choose another folder (--out)"


@dataclass(frozen=True)
class Run:
    """What was measured of one model and seed.

    Args:
        about: What a run must agree in to be taken for this one.
        evaluations: By protocol, and ``"probability"`` where the model knows any.
        figures: Numbers of the run as a whole: ``seconds`` (of an epoch; of a baseline, in all), and of
            models ``parameters``, the kept ``epoch`` and the ``calibration error``.
    """

    about: dict[str, Any]
    evaluations: dict[str, Evaluation]
    figures: dict[str, float]

    def save(self, folder: Path) -> None:
        """Write it; the file of the run itself comes last, so that without it nothing counts."""
        for kind in KINDS:
            if kind in self.evaluations:
                self.evaluations[kind].save(folder / f"{kind}.json")
            else:  # of an earlier run, of which nothing may stay
                (folder / f"{kind}.json").unlink(missing_ok=True)
        write_json({"about": self.about, "figures": self.figures}, folder / "run.json")

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any]) -> Run:
        """Read what :meth:`save` wrote.

        Args:
            folder: The run's.
            about: What it has to be of.

        Raises:
            ValueError: It is of another run, or damaged.
        """
        path = folder / "run.json"
        report = read_json(path)
        if not isinstance(report, dict) or {"about", "figures"} - set(report):
            raise ValueError(f"{path} is no run of a comparison; delete it")
        if report["about"] != about:
            there = report["about"]
            other = [key for key in about if there.get(key) != about[key]]
            is_of = ", ".join(f"{key} {there.get(key)}" for key in other)
            raise ValueError(f"{folder} is of another run ({is_of}); {CHOICE}")
        files = {kind: folder / f"{kind}.json" for kind in KINDS}
        kept = {kind: Evaluation.load(file) for kind, file in files.items() if file.exists()}
        if missing := set(PROTOCOLS) - set(kept):
            raise ValueError(f"{folder} has no {missing.pop()}.json; delete it")
        return cls(about, kept, report["figures"])


def measure(way: Setting | Baseline, split: Split, seed: int, about: dict[str, Any]) -> Run:
    """Train and rank.

    Args:
        way: Model and training, of this seed; or a baseline.
        split: What to train with and to rank.
        seed: Of the ranked candidates, of ties and of draws.
        about: What the run is of.

    Raises:
        KeyboardInterrupt: Training was interrupted: a run cut short is no result.
        ModuleNotFoundError: The library of the calibration error is absent.
    """
    if isinstance(way, Baseline):
        started = time.perf_counter()
        scorer: Scorer = way.fit(split, seed)
        figures = {"seconds": time.perf_counter() - started}
        return Run(about, ranked(scorer, split, seed), figures)
    smooth_error()  # what is missing is missed before hours of training
    outcome = way.fit(split)
    scorer = outcome.model
    figures = {
        "seconds": float(outcome.history["seconds"].median()),
        "parameters": sum(p.numel() for p in scorer.parameters()),
        "epoch": outcome.best_epoch,
    }
    evaluations = ranked(scorer, split, seed)
    try:
        pairs = predicted_pairs(Posterior(scorer, seed=seed), split, seed=seed)
    except NoProbability:
        return Run(about, evaluations, figures)
    figures["calibration error"] = calibration_error(pairs)
    return Run(about, evaluations | {PROBABILITY: evaluate_pairs(pairs)}, figures)


def ranked(scorer: Scorer, split: Split, seed: int) -> dict[str, Evaluation]:
    """The test items ranked by both protocols."""
    return {one: evaluate(scorer, split, protocol=one, ks=(10,), seed=seed) for one in PROTOCOLS}


def keep_split(split: Split, path: Path) -> None:
    """Write the split, or see that the one that is there is the same.

    Raises:
        ValueError: It is another.
    """
    if not path.exists():
        save_split(split, path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # a timeline leaves rows out
        there = load_split(split.interactions, path)
    for part in ("train", "validation", "test", "leave_one_out"):
        if not np.array_equal(np.sort(getattr(there, part)), np.sort(getattr(split, part))):
            raise ValueError(f"{path} is another split; {CHOICE}")
