"""The options of train_bamf.py: what there is, what contradicts what, and what follows from what."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch
from ratings import add_ratings

import bayes_recsys as br
from bayes_recsys.data import DATASETS
from bayes_recsys.scores.distribution import LEARNED_SCALES
from bayes_recsys.scores.families import FAMILIES
from bayes_recsys.nn import COMBINES, ENERGIES
from bayes_recsys.scores.spec import PRIOR_MEANS, SCOPES

DATA = (*DATASETS, "synthetic")
FAMILY_NAMES = {name.lower(): family for name, family in FAMILIES.items()}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options with their defaults, or an exit that names what is wrong."""
    parser = bamf_parser()
    options = parser.parse_args(arguments)
    check_data(options, parser.error)
    complete_scores(options, parser.error)
    check_model(options, parser.error)
    complete_objective(options, parser.error)
    return options


def bamf_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train BAMF on a ratings data set, evaluate it, and look at its posterior.",
        formatter_class=Help,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_ratings(parser, names=DATA)
    add("--out", type=Path, default=Path("runs/bamf"), help="folder for what is written")
    model = parser.add_argument_group("model")
    model.add_argument("--energy", choices=ENERGIES, default="dot")
    model.add_argument("--combine", choices=COMBINES, default="context")
    model.add_argument("--item-table", choices=("separate", "shared"), default="separate")
    model.add_argument(
        "--history",
        choices=("user", "item", "both"),
        default="user",
        help="what is attended over: the user's history, the target's audience, or by each side its own",
    )
    model.add_argument(
        "--max-length", type=positive, default=400, help="longest history; the rarest items stay"
    )
    model.add_argument("--embedding-dim", type=positive, default=32)
    model.add_argument("--values", choices=("shared", "separate"), default="shared")
    model.add_argument(
        "--strength",
        choices=("user", "both"),
        help="whether the user's scores multiply the target's (default: both where they can)",
    )
    model.add_argument("--beta", type=float, default=0.5, help="smoothing, in (0, 1]")
    model.add_argument("--dropout", type=float, default=0.0, help="in training, in [0, 1)")
    model.add_argument("--tau", type=float, default=1.0, help="sharpening, at least 1")
    scores = parser.add_argument_group("scores")
    scores.add_argument(
        "--guide", choices=FAMILY_NAMES, default="lognormal", help="point: no random scores"
    )
    scores.add_argument("--prior", choices=FAMILY_NAMES, help="default: as the guide")
    scores.add_argument(
        "--guide-scale", type=scale, help="sd of ln s, learned or amortised (default: learned)"
    )
    scores.add_argument("--prior-scale", type=scale, help="sd of ln s, or learned (default: 1.0)")
    scores.add_argument("--prior-mean", choices=PRIOR_MEANS, help="default: constant")
    scores.add_argument("--scope", choices=SCOPES, help="what one score belongs to (default: user)")
    scores.add_argument(
        "--sides",
        choices=("user", "item", "both"),
        help="whose scores are random (default: user; both with --scope interaction)",
    )
    objective = parser.add_argument_group("objective")
    objective.add_argument(
        "--likelihood", choices=("bernoulli", "bradley-terry"), default="bernoulli"
    )
    objective.add_argument(
        "--negatives", type=positive, help="per positive (default: 4 bernoulli, 1 bradley-terry)"
    )
    objective.add_argument("--l2", type=float, help="penalty of bradley-terry (default: 0)")
    objective.add_argument(
        "--negatives-exclude",
        choices=("train", "all"),
        default="train",
        help="'all' never draws held-out positives as negatives: a leak, for comparison only",
    )
    objective.add_argument(
        "--kl-weight",
        type=float,
        help="weight of the scores' terms (default: 1, the ELBO; less is tempered)",
    )
    objective.add_argument(
        "--kl-reduction", choices=("sum", "mean"), help="over a history (default: sum)"
    )
    objective.add_argument(
        "--kl-warmup", type=positive, help="epochs over which the weight rises (default: none)"
    )
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=positive, default=100, help="at most")
    training.add_argument(
        "--patience", type=positive, default=10, help="epochs without improvement"
    )
    training.add_argument("--learning-rate", type=float, default=2e-3)
    training.add_argument("--weight-decay", type=float, default=0.1)
    training.add_argument(
        "--seed", type=not_negative, default=0, help="of split, initial weights and draws"
    )
    training.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu")
    return parser


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to the help of an option, unless there is none to add."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def scale(text: str) -> float | str:
    return text if text in LEARNED_SCALES else float(text)


def not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, but is {number}")
    return number


def check_data(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> None:
    if options.data not in DATA and not Path(options.data).exists():
        refuse(f"--data {options.data!r}: choose from {', '.join(DATA)}, or name an existing file")
    named = options.user or options.item or options.columns
    if named and not Path(options.data).is_file():
        refuse("--user, --item and --columns name columns of a ratings file; give one with --data")
    if options.min_rating is not None and options.data == "synthetic":
        refuse("--min-rating: the synthetic data has no ratings")
    if options.device != "cpu" and not getattr(torch, options.device).is_available():
        refuse(f"--device {options.device}: there is none on this machine; use cpu")
    if options.out.exists() and not options.out.is_dir():
        refuse(f"--out {options.out}: is a file, not a folder")


def complete_scores(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> None:
    """Defaults that only random scores have; without them (point) to give one is a mistake."""
    options.prior = options.prior or options.guide
    if options.guide != options.prior and "point" in (options.guide, options.prior):
        refuse("--guide and --prior contradict: point has no latent scores; use it for both")
    if options.sides is None and options.scope == "interaction":
        options.sides = "both"
    defaults = {
        "guide_scale": "learned",
        "prior_scale": 1.0,
        "prior_mean": "constant",
        "scope": "user",
        "sides": "user",
        "kl_weight": 1.0,
        "kl_reduction": "sum",
    }
    for name, default in defaults.items():
        given = getattr(options, name)
        if options.guide == "point" and given is not None:
            refuse(f"--{name.replace('_', '-')} means nothing with --guide point")
        if options.guide != "point" and given is None:
            setattr(options, name, default)
    if options.guide != "point":
        try:
            build_scores(options)
        except ValueError as error:
            refuse(f"--guide, --prior and their scales: {error}")
    if options.scope == "user" and options.sides != "user":
        refuse(f"--sides {options.sides} contradicts --scope user; use --scope interaction")
    if options.guide == "point" and options.kl_warmup is not None:
        refuse("--kl-warmup means nothing with --guide point")


def check_model(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> None:
    if options.strength == options.history == "both":
        refuse(
            "--strength both contradicts --history both, whose sides attend over different entries"
        )
    if options.history == "item" and options.item_table == "shared":
        refuse("--item-table shared contradicts --history item, where no item is attended over")
    if options.history == "item" and options.guide != "point" and options.scope != "interaction":
        refuse(
            "--history item needs --scope interaction (or --guide point): entries differ by target"
        )
    if not 0 < options.beta <= 1:
        refuse(f"--beta must be in (0, 1], not {options.beta}")
    if not options.tau >= 1:
        refuse(f"--tau must be at least 1, not {options.tau}")


def complete_objective(options: argparse.Namespace, refuse: Callable[[str], NoReturn]) -> None:
    """Defaults that depend on the likelihood."""
    if options.likelihood == "bernoulli":
        if options.l2 is not None:
            refuse("--l2 belongs to --likelihood bradley-terry; else use --weight-decay")
        options.negatives = 4 if options.negatives is None else options.negatives
    else:
        options.negatives = 1 if options.negatives is None else options.negatives
        options.l2 = options.l2 or 0.0


def build_scores(options: argparse.Namespace) -> br.Scores:
    return br.Scores(
        guide=FAMILY_NAMES[options.guide](options.guide_scale),
        prior=FAMILY_NAMES[options.prior](options.prior_scale),
        scope=options.scope,
        prior_mean=options.prior_mean,
    )
