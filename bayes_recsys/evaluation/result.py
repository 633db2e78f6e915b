"""What an evaluation found, user by user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from bayes_recsys.evaluation.metrics import METRICS
from bayes_recsys.records import read_json, write_json
from bayes_recsys.streams import stream

FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """Metrics of every evaluated user.

    Args:
        protocol: ``"full"`` or ``"sampled"``.
        part: The evaluated part of the split.
        per_user: One row per user (index: user id), one column per metric (``"ndcg@10"``).
        catalogue: What the lists of all users together cover of the catalogue: one row per cut-off,
            columns ``coverage`` and ``gini``. Meaningful for ``"full"``, where every item could be
            recommended.
        cases: A digest of what was ranked: users, candidates and which of these are relevant.
            Evaluations of the same cases can be paired.
    """

    protocol: str
    part: str
    per_user: pd.DataFrame
    catalogue: pd.DataFrame
    cases: str

    def summary(self, *, confidence: float = 0.95, resamples: int = 2000) -> pd.DataFrame:
        """Mean over users with a percentile-bootstrap interval over users.

        Returns:
            Columns ``mean``, ``low``, ``high``; one row per metric. With a single user the
            interval is the value itself.

        Raises:
            ValueError: ``confidence`` or ``resamples`` is out of range.
        """
        check_resampling(confidence, resamples)
        values = self.per_user.to_numpy().T
        mean = low = high = values.mean(axis=1)
        if values.shape[1] > 1:
            interval = stats.bootstrap(
                (values,),
                np.mean,
                axis=-1,
                confidence_level=confidence,
                n_resamples=resamples,
                method="percentile",
                batch=100,
                rng=stream("bootstrap", 0),
            ).confidence_interval
            low, high = interval.low, interval.high
        return pd.DataFrame({"mean": mean, "low": low, "high": high}, index=self.per_user.columns)

    def joined(self, metrics: pd.DataFrame) -> Evaluation:
        """With more metrics of the same users.

        Raises:
            ValueError: The users are others.
        """
        if not metrics.index.sort_values().equals(self.per_user.index.sort_values()):
            raise ValueError("the metrics are not of the users of this evaluation")
        return replace(self, per_user=self.per_user.join(metrics))

    def save(self, path: str | Path) -> None:
        """Write it as JSON, complete or not at all."""
        report = {
            "format": FORMAT,
            "protocol": self.protocol,
            "part": self.part,
            "cases": self.cases,
            "users": self.per_user.index.tolist(),
            "per_user": self.per_user.to_dict("list"),
            "ks": self.catalogue.index.tolist(),
            "catalogue": self.catalogue.to_dict("list"),
        }
        write_json(report, path)

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: The file is missing, damaged or no evaluation.
        """
        report = read_json(path)
        if not isinstance(report, dict) or report.get("format") != FORMAT:
            raise ValueError(f"{path}: not an evaluation of format {FORMAT}; measure it anew")
        try:
            users = pd.Index(report["users"], name="user")
            return cls(
                report["protocol"],
                report["part"],
                pd.DataFrame(report["per_user"], users),
                pd.DataFrame(report["catalogue"], pd.Index(report["ks"])),
                report["cases"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: not a whole evaluation: {error!r}") from error

    def __repr__(self) -> str:
        table = self.summary()
        cells = table.apply(lambda r: f"{r['mean']:.3f} [{r.low:.3f}, {r.high:.3f}]", axis=1)
        ranked = [name for name in cells.index if name.partition("@")[2].isdecimal()]
        what, others = self.protocol, cells.drop(ranked)
        tables = [others.to_string()] if len(others) else []
        if ranked:
            what, grid = f"{what} ranking", cells[ranked]
            grid.index = pd.MultiIndex.from_tuples([name.split("@") for name in ranked])
            grid = grid.unstack()
            known = [name for name in (*METRICS, "novelty") if name in grid.index]
            grid = grid.loc[[*known, *grid.index.difference(known)]]
            together = self.catalogue.T.map("{:.3f}".format).rename(columns=str)
            grid = pd.concat([grid[sorted(grid.columns, key=int)], together]).add_prefix("@")
            tables = [grid.to_string(), *tables]
        return "\n".join(
            [
                f"{what} of the {self.part} part, {len(self.per_user)} users (mean, 95 % bootstrap interval)",
                *tables,
            ]
        )


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """A digest of what was ranked or predicted, by which the same cases are known."""
    digest = hashlib.sha256()
    for one in arrays:
        digest.update(np.ascontiguousarray(one).tobytes())
    return digest.hexdigest()


def check_resampling(confidence: float, resamples: int) -> None:
    """Refuse options of a bootstrap that are out of range (``ValueError``)."""
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(
            f"confidence must be in (0, 1) and resamples at least 1, not {confidence}, {resamples}"
        )
