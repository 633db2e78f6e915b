"""Runs of a comparison as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayes_recsys.evaluation.comparison import compare
from bayes_recsys.evaluation.protocols import PROTOCOLS
from bayes_recsys.evaluation.result import Evaluation
from bayes_recsys.experiments.runs import KINDS, Run

SHOWN = "ndcg@10"


def evaluations(runs: Mapping[str, Sequence[Run]], kind: str) -> dict[str, list[Evaluation]]:
    """The evaluations of a kind, of those models that have it."""
    return {
        name: [one.evaluations[kind] for one in ones]
        for name, ones in runs.items()
        if kind in ones[0].evaluations
    }


def table(runs: Mapping[str, Sequence[Run]], against: str, overlap: float) -> pd.DataFrame:
    """One row a model, in the order of the runs; means over seeds, whose splits overlap as
    :func:`~bayes_recsys.evaluation.comparison.compare` says.

    Probabilities, which no baseline has, are compared with the first model that has them, unless
    ``against`` does.

    Raises:
        ValueError: Runs of a seed did not rank the same cases.
    """
    parts = []
    for kind in KINDS:
        of_kind = evaluations(runs, kind)
        if not of_kind:
            continue
        reference = against if against in of_kind else next(iter(of_kind))
        for metric in of_kind[reference][0].per_user:
            compared = compare(of_kind, metric, against=reference, overlap=overlap).reindex(
                list(runs)
            )
            parts.append(compared.rename(columns=lambda c, m=f"{kind} {metric}": f"{m} {c}"))
    rows = {}
    for name, ones in runs.items():
        together = pd.concat([one.evaluations["full"].catalogue.loc[[10]] for one in ones]).mean()
        figures = pd.DataFrame([one.figures for one in ones])
        rows[name] = {
            "seeds": len(ones),
            **together,
            "calibration error": figures.get("calibration error", pd.Series([np.nan])).mean(),
            "parameters": figures.get("parameters", pd.Series([np.nan]))[0],
            "seconds": figures["seconds"].median(),
            "epoch": figures.get("epoch", pd.Series([np.nan])).mean(),
        }
    return pd.concat([*parts, pd.DataFrame.from_dict(rows, orient="index")], axis=1)


def markdown(frame: pd.DataFrame, against: str) -> str:
    """The table as a page shows it."""
    full, sampled = ([f"{p} {SHOWN} {c}" for c in ("mean", "low", "high")] for p in PROTOCOLS)
    apart = [f"full {SHOWN} difference{of}" for of in ("", "_low", "_high")]
    head = [
        "model", "NDCG@10, full", f"less {against}", "NDCG@10, 1:99", "novelty", "coverage",
        "test NLL", "calibration error", "parameters", "seconds", "kept epoch",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in frame.iterrows():
        difference = ""
        if name != against:
            difference = _cell(row, apart, "+")
            difference += " *" if row[f"full {SHOWN} p_holm"] < 0.05 else ""
        cells = [
            name,
            _cell(row, full),
            difference,
            _cell(row, sampled),
            f"{row['full novelty@10 mean']:.2f}",
            f"{row['coverage']:.3f}",
            *_of_training(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _of_training(row: pd.Series) -> list[str]:
    """What only models have; what a baseline has not is left empty."""
    if np.isnan(row["parameters"]):
        return ["", "", "", f"{row['seconds']:.2f} in all", ""]
    probability = ["", ""]
    if not np.isnan(row["calibration error"]):
        nll = [f"probability nll {c}" for c in ("mean", "low", "high")]
        probability = [_cell(row, nll), f"{row['calibration error']:.3f}"]
    return [
        *probability,
        f"{row['parameters']:,.0f}",
        f"{row['seconds']:.1f} an epoch",
        f"{row['epoch']:.0f}",
    ]


def _cell(row: pd.Series, columns: Sequence[str], sign: str = "") -> str:
    mean, low, high = (f"{row[column]:{sign}.3f}" for column in columns)
    return f"{mean} [{low}, {high}]"
