"""How every model of the comparison is built and trained: ``TUNED`` was found by ``examples/tune_models.py`` on the
validation part of seed 0; of ``BASELINES`` some points each are tried on that of every split."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch

from bayes_recsys.baselines import BPRMF, EASE, IALS, SLIM, ItemKNN, Popularity
from bayes_recsys.data.history import MAX_LENGTH, Histories, histories
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.ranking import Scorer
from bayes_recsys.inference.checks import CollapseWarning
from bayes_recsys.inference.description import estimator
from bayes_recsys.inference.fitting import fit
from bayes_recsys.inference.kernel_choice import PENALTIES, WEIGHTS, choose_kernel
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Monitor, Training
from bayes_recsys.inference.result import Fit
from bayes_recsys.likelihoods import Softmax
from bayes_recsys.models import (
    AML,
    ARL,
    BAMF,
    DACR,
    DELF,
    FISM,
    GMF,
    MLP,
    NAIS,
    Affection,
    Association,
    CFNet,
    CFNetML,
    CFNetRL,
    DRNet,
    ItemSimilarity,
    Model,
    NeuMF,
    Options,
)
from bayes_recsys.records import to_record
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import Scores
from bayes_recsys.streams import torch_seed


@dataclass(frozen=True)
class Setting:
    """How a model is built and trained.

    Args:
        options: The model's class and its options.
        objective: What is made small.
        training: How.
        max_length: Most entries of a history.
        kernels: Weights of the kernel that an :class:`~bayes_recsys.models.similarity.ItemSimilarity` chooses among by the
            validation part; none: it has what its options say.

    Example:
        >>> setting = Setting(Options(BAMF, {"history": "both"}), training=Training(max_epochs=20))
        >>> setting.record()["training"]["max_epochs"]
        20
    """

    options: Options
    objective: Objective = Objective()
    training: Training = Training()
    max_length: int = MAX_LENGTH
    kernels: tuple[float, ...] = ()

    def build(self, of: Histories) -> Model:
        """The model, its weights by the training's seed; the caller's random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed("initial weights", self.training.seed))
            return self.options.build(of)

    def fit(self, split: Split) -> Fit:
        """Build and train, without a word: what scores learned is for the caller to ask.

        Raises:
            KeyboardInterrupt: Training was interrupted: a run cut short is no result.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CollapseWarning)
            model = self.build(histories(split, max_length=self.max_length))
            outcome = fit(model, split, self.objective, self.training, progress=False)
        if outcome.stopped == "interrupted":
            raise KeyboardInterrupt
        if self.kernels:
            choose_kernel(model, split, weights=self.kernels)
        return outcome

    def record(self) -> dict[str, Any]:
        """All of it for JSON, by which the same setting is known again.

        Raises:
            RecordError: Something of it is neither number nor text nor a dataclass of these.
        """
        objective = self.objective
        return {
            "model": self.options.record(),
            "objective": {
                "likelihood": to_record(objective.likelihood),
                "kl_weight": to_record(objective.kl_weight),
                "kl_reduction": objective.kl_reduction,
                "penalty": objective.penalty,
                "elbo": estimator(objective),
            },
            "training": to_record(self.training),
            "max_length": self.max_length,
            "kernels": list(self.kernels),
        }


@dataclass(frozen=True)
class Baseline:
    """A scorer that its constructor fits.

    Args:
        scorer: The class.
        options: Its options.
        seeded: Whether it takes a seed.
        among: Values of other options, of which those that rank the validation part best are taken, by NDCG@10 over the
            whole catalogue; every combination is tried.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=40, n_items=50, seed=0).interactions)
        >>> best = Baseline(EASE, among={"l2": (5.0, 5000.0)}).fit(split, seed=0)
        >>> worst = Baseline(EASE, {"l2": 5000.0}).fit(split, seed=0)
        >>> Monitor().measure(best, split, 0) > Monitor().measure(worst, split, 0)
        True
    """

    scorer: type
    options: dict[str, Any] = field(default_factory=dict)
    seeded: bool = False
    among: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def fit(self, split: Split, seed: int) -> Scorer:
        """The scorer of a split."""
        seeded = {"seed": seed} if self.seeded else {}
        points = [
            dict(zip(self.among, point, strict=True)) for point in product(*self.among.values())
        ]
        if len(points) == 1:
            return self.scorer(split, **self.options, **points[0], **seeded)
        tried = (self.scorer(split, **self.options, **point, **seeded) for point in points)
        return max(tried, key=lambda scorer: Monitor().measure(scorer, split, 0))

    def record(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "scorer": self.scorer.__name__,
            "options": to_record(self.options),
            "among": {name: list(values) for name, values in self.among.items()},
        }


# Six points for each, of which the validation part of each split takes one; the rest as tune_models.py found it.
BASELINES = {
    "popularity": Baseline(Popularity),
    "item k-NN": Baseline(
        ItemKNN, {"shrink": 0.0}, among={"neighbours": (10, 20, 50, 100, 200, 500)}
    ),
    "EASE": Baseline(EASE, among={"l2": PENALTIES}),
    "SLIM": Baseline(SLIM, among={"l1": (1.0, 2.5, 5.0), "l2": (20.0, 74.0)}),
    "iALS": Baseline(
        IALS, {"factors": 64}, seeded=True, among={"l2": (3.0, 10.0, 30.0), "alpha": (1.0, 10.0)}
    ),
    "BPR-MF": Baseline(
        BPRMF,
        {"factors": 64},
        seeded=True,
        among={"l2": (0.003, 0.01, 0.03), "learning_rate": (0.01, 0.03)},
    ),
}

# The defaults; the average is given, so that a run's record says which.
AVERAGED = Training(average=0.9995)
# What tune_models.py found on MovieLens latest-small, rounded, where it is not the default.
SLOW = replace(AVERAGED, learning_rate=1e-3, weight_decay=0.18)
QUICK = replace(AVERAGED, learning_rate=4.3e-3, weight_decay=1.2e-3)
RANDOM = {"scores": Scores()}  # the training is that of the model without
UNDROPPED = {"dropout": 0.0}
POINT = {"scores": Point()}
# An epoch is some ten steps: each is of 64 users with the whole catalogue.
HIDING = replace(AVERAGED, average=0.995, history_dropout=0.7, patience=20)
SIMILARITY = Setting(
    Options(ItemSimilarity, {}), Objective(Softmax()), HIDING, max_length=10**6, kernels=WEIGHTS
)
SIMILARITY_ALONE = replace(SIMILARITY, kernels=())
# BAMF by the same objective: one try by hand, that hides less.
RANKING = replace(SIMILARITY_ALONE, training=replace(HIDING, history_dropout=0.5))
TUNED = {
    "GMF": Setting(Options(GMF, {}), training=SLOW),
    "MLP": Setting(Options(MLP, {}), training=AVERAGED),
    "NeuMF": Setting(Options(NeuMF, {}), training=SLOW),
    "CFNet-rl": Setting(Options(CFNetRL, {}), training=AVERAGED),
    "CFNet-ml": Setting(Options(CFNetML, {}), training=SLOW),
    "CFNet": Setting(Options(CFNet, {}), training=AVERAGED),
    "ARL": Setting(Options(ARL, {}), training=AVERAGED),
    "AML": Setting(Options(AML, {}), training=SLOW),
    "DACR": Setting(Options(DACR, {}), training=SLOW),
    "FISM": Setting(Options(FISM, {}), training=SLOW),
    "NAIS": Setting(Options(NAIS, {}), training=AVERAGED),
    "affection": Setting(Options(Affection, UNDROPPED), training=SLOW),
    "association": Setting(Options(Association, {}), training=AVERAGED),
    "association, random scores": Setting(Options(Association, RANDOM), training=AVERAGED),
    "DRNet": Setting(Options(DRNet, UNDROPPED), training=QUICK),
    "DRNet, random scores": Setting(Options(DRNet, UNDROPPED | RANDOM), training=QUICK),
    "DELF": Setting(Options(DELF, {}), training=QUICK),
    "DELF, random scores": Setting(Options(DELF, RANDOM), training=QUICK),
    "BAMF, no random scores": Setting(Options(BAMF, {"user_scores": Point()}), training=AVERAGED),
    "BAMF": Setting(Options(BAMF, {}), training=AVERAGED),
    "BAMF, whole history": Setting(Options(BAMF, {}), training=AVERAGED, max_length=10**6),
    "BAMF, softmax, no random scores": replace(
        RANKING, options=Options(BAMF, {"user_scores": Point()})
    ),
    "BAMF, softmax": replace(RANKING, options=Options(BAMF, {})),
    "BAMF, both histories": Setting(Options(BAMF, {"history": "both"}), training=SLOW),
    "BAMF, both histories, no random scores": Setting(
        Options(BAMF, {"history": "both", "user_scores": Point()}), training=SLOW
    ),
    "item similarity": SIMILARITY,
    "item similarity, no random scores": replace(
        SIMILARITY, options=Options(ItemSimilarity, POINT)
    ),
    "item similarity, no kernel": SIMILARITY_ALONE,
    "item similarity, no kernel, no random scores": replace(
        SIMILARITY_ALONE, options=Options(ItemSimilarity, POINT)
    ),
}
