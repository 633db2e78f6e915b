"""Settings that have a name: ``published``, what the documents say, and ``public-code``, what their authors'
code does, which is something else."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from bayes_recsys.data.history import MAX_LENGTH
from bayes_recsys.experiments.settings import TUNED, Setting
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Monitor, Training
from bayes_recsys.likelihoods import Bernoulli, BradleyTerry
from bayes_recsys.models import (
    AML,
    ARL,
    BAMF,
    DACR,
    DELF,
    Affection,
    Association,
    DRNet,
    Options,
)
from bayes_recsys.scores.families import LogNormal
from bayes_recsys.scores.spec import Scores

# ---- As the documents have it. BAMF's paper has four experiments.

AS_PUBLISHED = Training.as_published()
PUBLISHED = {
    f"BAMF, {energy}, {learning}": Setting(
        Options.as_published(BAMF, {"energy": energy}), Objective(likelihood), AS_PUBLISHED
    )
    for energy in ("concat", "prod")
    for learning, likelihood in (("pointwise", Bernoulli()), ("pairwise", BradleyTerry()))
} | {
    name: Setting(Options.as_published(model, {}), training=AS_PUBLISHED)
    for name, model in {
        "affection": Affection,
        "association": Association,
        "DRNet": DRNet,
        "DELF": DELF,
        "ARL": ARL,
        "AML": AML,
        "DACR": DACR,
    }.items()
}

# ---- As public code has it: hardly any decay, soon stopped. Its batches are of 256 pairs and its step is
# half; ours are four times as large, except where that does not give the same.

PUBLIC = replace(AS_PUBLISHED, weight_decay=1e-5)
SMALL_BATCHES = replace(PUBLIC, learning_rate=1e-3, pairs=256)
# Random on both sides, of given width, under its effective objective.
BOTH = Scores(LogNormal(0.1), LogNormal(1.0), scope="interaction", prior_mean="contextual")
# With dot energy and pooled vectors alone, the best of the paper's follow-up.
BAYESIAN = {"strength": "user", "user_scores": BOTH, "item_scores": BOTH}
TEMPERED = Objective(kl_weight=0.01, kl_reduction="mean")
PUBLIC_CODE = {
    "affection": Setting(Options(Affection, {}), training=SMALL_BATCHES),
    "association": Setting(Options(Association, {}), training=PUBLIC),
    "DRNet": Setting(Options(DRNet, {}), training=PUBLIC),
    "BAMF": Setting(Options(BAMF, BAYESIAN), TEMPERED, PUBLIC),
    "BAMF, both histories": Setting(
        Options(BAMF, {**BAYESIAN, "history": "both"}), TEMPERED, PUBLIC
    ),
    "ARL": Setting(Options(ARL, {}), training=PUBLIC),
    "AML": Setting(Options(AML, {}), training=PUBLIC),
    "DACR": Setting(Options(DACR, {}), training=PUBLIC),
    "DELF": Setting(Options(DELF, {}), training=PUBLIC),
}
SETTINGS = {"tuned": TUNED, "published": PUBLISHED, "public-code": PUBLIC_CODE}

# ---- The same for BAMF on the command line: what a name stands for, option by option.

SIDES_OF_PAPER = {
    "strength": "user",
    "scope": "interaction",
    "sides": "both",
    "guide_scale": 0.1,
    "prior_scale": 1.0,
    "prior_mean": "contextual",
}
NAMED: dict[str, dict[str, Any]] = {
    "published": {
        **SIDES_OF_PAPER,
        "energy": "concat",
        "combine": "prod",
        "history": "user",
        "values": "shared",
        "dropout": 0.0,
        "weight_decay": 0.0,
        "average": 0.0,
        "monitor": Monitor.as_published(),
        "patience": 5,
        "kl_weight": 1.0,
        "kl_reduction": "sum",
    },
    "public-code": {
        **SIDES_OF_PAPER,
        "energy": "dot",
        "combine": "context",
        "kl_weight": 0.01,
        "kl_reduction": "mean",
        "weight_decay": 1e-5,
        "average": 0.0,
        "monitor": Monitor.as_published(),
        "patience": 5,
    },
}
# What of it may be given besides, as the document leaves it open or the code has it as an option.
OPEN = {
    "published": {"energy", "guide_scale", "prior_scale", "prior_mean", "patience"},
    "public-code": {"energy", "combine", "guide_scale", "prior_scale", "patience"},
}
# What it does not speak of.
FOREIGN = {
    "published": ("kl_warmup", "sparse", "negatives", "history_dropout"),
    "public-code": (
        "kl_warmup",
        "sparse",
        "values",
        "dropout",
        "penalty",
        "history_dropout",
    ),
}


def fill_in(options: argparse.Namespace) -> None:
    """Give a command line what its ``--as`` stands for.

    Raises:
        ValueError: Something of it is given otherwise.
    """
    name = options.named
    if name is None:
        return
    values = NAMED[name]
    for one in sorted({*(set(values) - OPEN[name]), *FOREIGN[name]}):
        if getattr(options, one) is not None:
            raise ValueError(
                f"--{one.replace('_', '-')} contradicts --as {name}, which says what it is or has no such "
                "thing; leave out one of them"
            )
    if options.max_length != MAX_LENGTH:
        raise ValueError(
            f"--max-length contradicts --as {name}, which cuts histories at {MAX_LENGTH}"
        )
    if options.prior_mean == "learned":
        raise ValueError(f"--prior-mean learned contradicts --as {name}: contextual, or constant")
    if options.likelihood == "softmax":
        raise ValueError(
            f"--likelihood softmax contradicts --as {name}: bernoulli, or bradley-terry"
        )
    if name == "published" and options.energy == "dot":
        raise ValueError("--energy dot contradicts --as published: the paper has concat and prod")
    if options.guide == "point":
        raise ValueError(f"--guide point contradicts --as {name}, which has random scores")
    for one, value in values.items():
        if getattr(options, one) is None:
            setattr(options, one, value)
