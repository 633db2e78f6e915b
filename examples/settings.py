"""How every model of the comparison is built and trained.

``BASELINES`` and ``TUNED`` were chosen by tune_models.py on the validation part, ``PUBLISHED`` is what the
papers' public code does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from bayes_recsys.baselines import BPRMF, EASE, IALS, SLIM, ItemKNN, Popularity
from bayes_recsys.scores.families import LogNormal, Point
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
    Model,
    NeuMF,
)
from bayes_recsys.scores.spec import Scores


@dataclass(frozen=True)
class Setting:
    """How a model is built and trained."""

    model: type[Model]
    options: dict = field(default_factory=dict)
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    kl_weight: float = 1.0
    kl_reduction: str = "sum"
    pairs: int = 1024
    patience: int = 10

    @property
    def training(self) -> dict[str, float | str]:
        """The arguments of ``fit``."""
        names = (f.name for f in fields(self) if f.name not in ("model", "options"))
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Baseline:
    """A scorer that its constructor fits."""

    scorer: type
    options: dict = field(default_factory=dict)
    seeded: bool = False


BASELINES = {
    "popularity": Baseline(Popularity),
    "item k-NN": Baseline(ItemKNN, {"neighbours": 20, "shrink": 0.0}),
    "EASE": Baseline(EASE, {"l2": 200.0}),
    "SLIM": Baseline(SLIM, {"l1": 2.5, "l2": 74.0}),
    "iALS": Baseline(IALS, {"factors": 64, "l2": 10.0, "alpha": 1.0}, seeded=True),
    "BPR-MF": Baseline(BPRMF, {"factors": 64, "l2": 0.01, "learning_rate": 0.01}, seeded=True),
}

# What tune_models.py found on MovieLens latest-small, rounded, where it is not the default.
SLOW = {"learning_rate": 1e-3, "weight_decay": 0.18}
QUICK = {"learning_rate": 4.3e-3, "weight_decay": 1.2e-3}
RANDOM = {"scores": Scores()}  # the training is that of the model without
TUNED = {
    "GMF": Setting(GMF, **SLOW),
    "MLP": Setting(MLP),
    "NeuMF": Setting(NeuMF, **SLOW),
    "CFNet-rl": Setting(CFNetRL),
    "CFNet-ml": Setting(CFNetML, **SLOW),
    "CFNet": Setting(CFNet),
    "ARL": Setting(ARL),
    "AML": Setting(AML, **SLOW),
    "DACR": Setting(DACR, **SLOW),
    "FISM": Setting(FISM, **SLOW),
    "NAIS": Setting(NAIS),
    "affection": Setting(Affection, {"dropout": 0.0}, **SLOW),
    "association": Setting(Association),
    "association, random scores": Setting(Association, RANDOM),
    "DRNet": Setting(DRNet, {"dropout": 0.0}, **QUICK),
    "DRNet, random scores": Setting(DRNet, {"dropout": 0.0, **RANDOM}, **QUICK),
    "DELF": Setting(DELF, **QUICK),
    "DELF, random scores": Setting(DELF, RANDOM, **QUICK),
    "BAMF, no random scores": Setting(BAMF, {"user_scores": Point()}),
    "BAMF": Setting(BAMF),
    "BAMF, both histories": Setting(BAMF, {"history": "both"}, **SLOW),
    "BAMF, both histories, no random scores": Setting(
        BAMF, {"history": "both", "user_scores": Point()}, **SLOW
    ),
}

# The public implementations' training: hardly any decay, soon stopped. Their batches are of 256 pairs and
# their step is half; ours are four times as large, except where that does not give the same.
TRAINING = {"learning_rate": 2e-3, "weight_decay": 1e-5, "patience": 5}
# Random on both sides, of given width, under the public implementation's effective objective.
BOTH = Scores(LogNormal(0.1), LogNormal(1.0), scope="interaction", prior_mean="contextual")
# With dot energy and pooled vectors alone, the best of the paper's follow-up.
BAYESIAN = {"strength": "user", "user_scores": BOTH, "item_scores": BOTH}
TEMPERED = {"kl_weight": 0.01, "kl_reduction": "mean"}
PUBLISHED = {
    "affection": Setting(Affection, learning_rate=1e-3, weight_decay=1e-5, pairs=256, patience=5),
    "association": Setting(Association, **TRAINING),
    "DRNet": Setting(DRNet, **TRAINING),
    "BAMF": Setting(BAMF, BAYESIAN, **TRAINING, **TEMPERED),
    "BAMF, both histories": Setting(BAMF, {**BAYESIAN, "history": "both"}, **TRAINING, **TEMPERED),
    "ARL": Setting(ARL, **TRAINING),
    "AML": Setting(AML, **TRAINING),
    "DACR": Setting(DACR, **TRAINING),
    "DELF": Setting(DELF, **TRAINING),
}
SETTINGS = {"tuned": TUNED, "published": PUBLISHED}
