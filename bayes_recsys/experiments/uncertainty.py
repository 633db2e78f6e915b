"""A model with random scores, its deterministic twins and dropout, and what each knows of its own errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bayes_recsys.baselines import Popularity
from bayes_recsys.data.interactions import Interactions
from bayes_recsys.data.splits import Split, split
from bayes_recsys.evaluation.calibration import (
    balanced,
    calibration_error,
    calibration_floor,
    corrected,
    recalibrated,
    reliability,
)
from bayes_recsys.evaluation.levels import UserLevels
from bayes_recsys.evaluation.probability import brier, nll, predicted_pairs
from bayes_recsys.evaluation.ranking import Scorer, evaluate
from bayes_recsys.evaluation.result import Evaluation
from bayes_recsys.evaluation.selective import list_uncertainty
from bayes_recsys.experiments.settings import Setting
from bayes_recsys.models import BAMF, Model, Options, load_model, save_model
from bayes_recsys.posterior.predictive import DeepEnsemble, MCDropout, Posterior, Predictive
from bayes_recsys.records import read_json, write_json
from bayes_recsys.scores.families import LogNormal, Point
from bayes_recsys.scores.spec import Scores
from bayes_recsys.streams import stream

NEGATIVES, DROPOUT, SAMPLE = 4, 0.2, 200
# As narrow as to be a point: what is left of the divergence is the prior's penalty.
AT_MODE = Scores(LogNormal(0.01), LogNormal(1.0))
RANDOM, TWIN, POPULARITY = "random scores", "no random scores", "popularity"


@dataclass(frozen=True)
class Measured:
    """What is measured of a predictive and seed.

    Args:
        of_users: Ranking, and whatever else is of a user.
        figures: What is of all users together.
    """

    of_users: Evaluation
    figures: dict[str, Any]

    @property
    def per_user(self) -> pd.DataFrame:
        """The metrics of every user."""
        return self.of_users.per_user


@dataclass(frozen=True)
class Study:
    """Predictives of the same training, by name.

    Args:
        way: The model with random scores, and its training.
        members: Of the ensemble of twins.
        out: Folder for models and what is measured.
        ablations: Also what else could be the reason: scores at their mode under the same prior, as many models with
            random scores as twins, a twin of as many times the parameters.
    """

    way: Setting
    members: int
    out: Path
    ablations: bool = False

    def predictives(self, parts: Split, seed: int) -> dict[str, Predictive]:
        """Every one, fitted to the same split; models that are there are read."""
        random = self._fitted("random", {}, parts, seed)
        twins = [self._fitted(f"twin{n}", self._point, parts, seed, n) for n in range(self.members)]
        found: dict[str, Predictive] = {
            RANDOM: Posterior(random, seed=seed),
            f"{RANDOM}, {self.members} draws": Posterior(random, draws=self.members, seed=seed),
            TWIN: Posterior(twins[0], draws=1),
            f"ensemble of {self.members}": DeepEnsemble(twins),
        }
        if "dropout" in random.options.values:
            dropping = self._fitted("dropout", {**self._point, "dropout": DROPOUT}, parts, seed)
            found["dropout"] = MCDropout(dropping, seed=seed)
        return found | (self._ablated(random, parts, seed) if self.ablations else {})

    @property
    def _scores(self) -> str:
        """The option of the model by which its scores are given."""
        return "user_scores" if self.way.options.model is BAMF else "scores"

    @property
    def _point(self) -> dict[str, Any]:
        return {self._scores: Point()}

    def _ablated(self, random: Model, parts: Split, seed: int) -> dict[str, Predictive]:
        more = [self._fitted(f"random{n}", {}, parts, seed, n) for n in range(1, self.members)]
        dim = random.options.values["embedding_dim"]
        wide = {**self._point, "embedding_dim": dim * self.members}
        return {
            "scores at their mode": Posterior(
                self._fitted("mode", {self._scores: AT_MODE}, parts, seed), draws=1
            ),
            f"ensemble of {self.members}, random scores": DeepEnsemble([random, *more]),
            f"{self.members} times the parameters": Posterior(
                self._fitted("wide", wide, parts, seed), draws=1
            ),
        }

    def _fitted(
        self, name: str, options: dict[str, Any], parts: Split, seed: int, number: int = 0
    ) -> Model:
        folder = self.out / f"{name}-{seed}"
        if folder.exists():
            return load_model(folder)
        way = self.way
        of_model = Options(way.options.model, {**way.options.values, **options})
        training = replace(way.training, seed=seed + 1000 * number)
        model = replace(way, options=of_model, training=training).fit(parts).model
        save_model(model, folder)
        return model

    def measured(self, data: Interactions, seed: int) -> dict[str, Measured]:
        """What is measured of a seed, now unless it is there; of popularity, how it ranks.

        Raises:
            ValueError: What is there is none of this, or damaged. (Whether it is of the same settings is for the caller to know.)
        """
        path, folder = self.out / f"{seed}.json", self.out / f"evaluations-{seed}"
        if not path.exists():
            parts = split(data, seed=seed)
            every = self.predictives(parts, seed)
            done = {name: measure(one, parts, seed) for name, one in every.items()}
            done[POPULARITY] = Measured(of_users(Popularity(parts), parts), {})
            for name, one in done.items():
                one.of_users.save(folder / f"{name}.json")
            write_json({name: one.figures for name, one in done.items()}, path)
        figures = read_json(path)
        if not isinstance(figures, dict) or POPULARITY not in figures:
            raise ValueError(f"{path} is of another study; choose another folder (--out)")
        return {
            name: Measured(Evaluation.load(folder / f"{name}.json"), of_all)
            for name, of_all in figures.items()
        }


def measure(predictive: Predictive, parts: Split, seed: int) -> Measured:
    """All that is measured of a predictive: of its probabilities, if it has any, as they are and recalibrated, and of those
    that it has with levels."""
    levelled = UserLevels(predictive, parts, negatives=NEGATIVES, seed=seed)
    with_levels = predicted_pairs(levelled, parts, negatives=NEGATIVES, seed=seed)
    table, alike = list_uncertainty(predictive, parts), balanced(with_levels)
    table["doubt, with levels"] = list_uncertainty(levelled, parts)["doubt"]
    # With which the mean over users is that over pairs.
    weight = with_levels["user"].value_counts()[table.index] * len(table) / len(with_levels)
    table["nll with levels"], table["brier with levels"] = nll(with_levels), brier(with_levels)
    table["nll of pairs with levels"] = nll(with_levels) * weight
    figures = {
        "calibration error with levels": calibration_error(alike),
        "calibration floor with levels": calibration_floor(alike),
        "reliability with levels": reliability(alike).to_dict("list"),
    }
    if "doubt" not in table:  # it only ranks
        return Measured(of_users(predictive, parts).joined(table), figures)
    pairs, others = (
        predicted_pairs(predictive, parts, part=part, negatives=NEGATIVES, seed=seed)
        for part in ("test", "validation")
    )
    mended, alike = recalibrated(pairs, on=balanced(others)), balanced(pairs)
    for name, some in {"": pairs, " recalibrated": mended}.items():
        table[f"nll{name}"], table[f"brier{name}"] = nll(some), brier(some)
    table["nll of pairs"] = nll(pairs) * weight
    table["nll of pairs recalibrated"] = nll(recalibrated(pairs, on=others)) * weight
    figures |= {
        "calibration error": calibration_error(alike),
        "calibration floor": calibration_floor(alike),
        "calibration error recalibrated": calibration_error(balanced(mended)),
        "calibration error of pairs": calibration_error(pairs),
        "reliability": reliability(alike).to_dict("list"),
        "expected": expected_choices(predictive, parts, seed),
    }
    return Measured(of_users(predictive, parts).joined(table), figures)


def of_users(scorer: Scorer, parts: Split) -> Evaluation:
    """Ranking over the catalogue, and minus the number of training items."""
    ranked = evaluate(scorer, parts, ks=(10,))
    lengths = pd.Series(parts.items_by_user("train").lengths, parts.interactions.user_ids)
    short = -lengths[ranked.per_user.index].astype(float)
    return ranked.joined(short.to_frame("short history"))


def expected_choices(predictive: Predictive, parts: Split, seed: int) -> dict[str, float]:
    """Test choices of all users together as predicted over their actual number, by the probabilities as
    they are and corrected for the sampled negatives, from a random sample of each user's candidates.

    The share of a user's choices that is in the test part, an eighth of that in training, is known.
    """
    known, train = parts.items_by_user("train", "validation"), parts.items_by_user("train").lengths
    raw = right = 0.0
    for user in parts.items_by_user("test").lengths.nonzero()[:, 0].tolist():
        rng = stream("sample of candidates", seed, user)
        fresh = np.setdiff1d(np.arange(parts.interactions.n_items), known.row(user).numpy())
        item = torch.from_numpy(rng.choice(fresh, min(SAMPLE, len(fresh)), replace=False))
        logits = predictive.draw_logits(torch.tensor([user]), item[None])[:, 0].double()
        of_draws = logits.sigmoid().numpy()
        prevalence = train[user].item() / 8 / len(fresh)
        raw += of_draws.mean() * len(fresh)
        of_draws = corrected(of_draws, negatives=NEGATIVES, prevalence=prevalence)
        right += of_draws.mean() * len(fresh)
    return {"raw": raw / len(parts.test), "corrected": right / len(parts.test)}
