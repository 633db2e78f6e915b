"""The command line of train_bamf.py, and the typed objects that it makes.

What is not given is left to the objects' own defaults, and what they refuse is refused, before any data
is read.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayes_recsys.data.history import histories
from bayes_recsys.data.sources import DATASETS
from bayes_recsys.experiments.published import NAMED, fill_in
from bayes_recsys.experiments.ratings import add_ratings
from bayes_recsys.experiments.settings import Setting
from bayes_recsys.inference.objective import KL_REDUCTIONS, Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.inference.schedules import LinearWarmup
from bayes_recsys.likelihoods import Bernoulli, BradleyTerry, Likelihood
from bayes_recsys.models import BAMF, Options
from bayes_recsys.models.bamf import CHOICES
from bayes_recsys.nn import COMBINES, ENERGIES
from bayes_recsys.scores.distribution import LEARNED_SCALES, RandomFamily
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import PRIOR_MEANS, SCOPES, Scores

DATA = (*DATASETS, "synthetic")
LIKELIHOODS = {"bernoulli": Bernoulli, "bradley-terry": BradleyTerry}
MODEL, OBJECTIVE, TRAINING, SCORES = Options(BAMF, {}).values, Objective(), Training(), Scores()
# What means something with random scores only.
OF_SCORES = (
    "guide_scale",
    "prior_scale",
    "prior_mean",
    "scope",
    "sides",
    "kl_weight",
    "kl_reduction",
    "kl_warmup",
)


@dataclass(frozen=True)
class Command:
    """What a command line asks for.

    Args:
        ratings: Which ratings, for :func:`~bayes_recsys.experiments.ratings.load_ratings`.
        setting: Model and training.
        max_length: Longest history.
        out: Folder for what is written.
    """

    ratings: argparse.Namespace
    setting: Setting
    max_length: int
    out: Path


def parse(arguments: list[str] | None = None) -> Command:
    """The command, or an exit that names what is wrong."""
    parser = bamf_parser()
    options = parser.parse_args(arguments)
    try:
        _check_files(options)
        fill_in(options)
        objective, training = _objective(options), _training(options)
        setting = Setting(_model(options).check(), objective, training)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    return Command(options, setting, options.max_length, options.out)


def families() -> dict[str, type]:
    """Point, and every random family that is defined by now, by name; one's own too."""
    return {"point": Point, **{one.__name__.lower(): one for one in _below(RandomFamily)}}


def _below(base: type) -> Iterator[type]:
    for one in base.__subclasses__():
        if not inspect.isabstract(one):
            yield one
        yield from _below(one)


def bamf_parser() -> argparse.ArgumentParser:
    """All options; those of model, scores, objective and training are ``None`` unless given."""
    parser = argparse.ArgumentParser(
        description="Train BAMF on a ratings data set, evaluate it, and look at its posterior.",
        allow_abbrev=False,
    )
    add_ratings(parser, names=DATA)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bamf"), help="folder for what is written"
    )
    parser.add_argument(
        "--as",
        dest="named",
        choices=NAMED,
        help="BAMF as its paper has it, or as its authors' code has it, which differ from each other and "
        "from the defaults",
    )
    _add_model(parser.add_argument_group("model"))
    _add_scores(parser.add_argument_group("scores"))
    _add_objective(parser.add_argument_group("objective"))
    _add_training(parser.add_argument_group("training"))
    return parser


def _help(text: str, default: Any) -> str:
    return f"{text} (default: {default})"


def _add_model(group: argparse._ArgumentGroup) -> None:
    choices = {"energy": ENERGIES, "combine": COMBINES, **CHOICES}
    texts = {
        "energy": "what queries and keys are compared by",
        "combine": "how a global vector and its context become one",
        "item_table": "of items as targets and in histories",
        "history": "what is attended over: the user's history, the target's audience, or by each side its "
        "own",
        "values": "what is pooled: what is attended to, or vectors of their own",
        "strength": "whether the user's scores multiply the target's",
    }
    for name, text in texts.items():
        known = [one for one in choices[name] if one is not None]
        default = MODEL[name] or "both where they can"
        group.add_argument(_flag(name), choices=known, help=_help(text, default))
    numbers = {
        "embedding_dim": (int, "length of the vectors"),
        "beta": (float, "smoothing, in (0, 1]"),
        "tau": (float, "sharpening, at least 1"),
        "dropout": (float, "in training, in [0, 1)"),
    }
    for name, (kind, text) in numbers.items():
        group.add_argument(_flag(name), type=kind, help=_help(text, MODEL[name]))
    group.add_argument(
        "--max-length",
        type=positive,
        default=inspect.signature(histories).parameters["max_length"].default,
        help="longest history; the rarest items stay (default: %(default)s)",
    )


def _add_scores(group: argparse._ArgumentGroup) -> None:
    add, known, default = group.add_argument, families(), type(SCORES.guide).__name__.lower()
    add("--guide", choices=known, help=_help("point: no random scores", default))
    add("--prior", choices=known, help=_help("family of the prior", "as the guide"))
    add(
        "--guide-scale",
        type=scale,
        help=_help("sd of ln s, learned or amortised", SCORES.guide.scale),
    )
    add("--prior-scale", type=scale, help=_help("sd of ln s, or learned", SCORES.prior.scale))
    add("--prior-mean", choices=PRIOR_MEANS, help=_help("of the scores", SCORES.prior_mean))
    add("--scope", choices=SCOPES, help=_help("what one score belongs to", SCORES.scope))
    add(
        "--sides",
        choices=("user", "item", "both"),
        help=_help("whose scores are random", "user; both with --scope interaction"),
    )


def _add_objective(group: argparse._ArgumentGroup) -> None:
    add, default = group.add_argument, type(OBJECTIVE.likelihood)
    name = next(name for name, one in LIKELIHOODS.items() if one is default)
    counts = ", ".join(f"{one().negatives} {name}" for name, one in LIKELIHOODS.items())
    add("--likelihood", choices=LIKELIHOODS, help=_help("what is observed", name))
    add("--negatives", type=int, help=_help("per positive", counts))
    add("--penalty", type=float, help=_help("on all parameters squared", OBJECTIVE.penalty))
    add(
        "--kl-weight",
        type=float,
        help=_help("weight of the scores' terms; 1 is the ELBO", OBJECTIVE.kl_weight),
    )
    add("--kl-reduction", choices=KL_REDUCTIONS, help=_help("over a history", "sum"))
    add("--kl-warmup", type=float, help=_help("epochs over which the weight rises", "none"))


def _add_training(group: argparse._ArgumentGroup) -> None:
    add, decay = group.add_argument, TRAINING.decay(OBJECTIVE)
    add(
        "--epochs",
        dest="max_epochs",
        metavar="EPOCHS",
        type=int,
        help=_help("at most", TRAINING.max_epochs),
    )
    add("--patience", type=int, help=_help("epochs without improvement", TRAINING.patience))
    add("--learning-rate", type=float, help=_help("step size", TRAINING.learning_rate))
    add(
        "--weight-decay",
        type=float,
        help=_help("of embeddings and linear maps", f"{decay}, or 0 with --penalty"),
    )
    add(
        "--negatives-exclude",
        choices=("train", "all"),
        help="'all' never draws held-out positives as negatives: a leak, for comparison only "
        f"(default: {TRAINING.negatives_exclude})",
    )
    add("--seed", type=int, help=_help("of split, initial weights and draws", TRAINING.seed))
    add(
        "--sparse",
        action="store_true",
        default=None,
        help="update only the rows of tables that a batch uses, for tables of millions (default: all rows)",
    )
    add("--device", help=_help("cpu, cuda, mps, .. as torch names them", TRAINING.device))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def scale(text: str) -> float | str:
    """A width: a number, or how it is learned."""
    return text if text in LEARNED_SCALES else float(text)


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """What the command line says of these."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _model(options: argparse.Namespace) -> Options:
    names = ("energy", "combine", "item_table", "history", "values", "strength")
    numbers = ("embedding_dim", "beta", "tau", "dropout")
    given = _given(options, *names, *numbers)
    return Options(BAMF, given | _scores(options))


def _scores(options: argparse.Namespace) -> dict[str, Scores | Point]:
    """The scores of both sides."""
    families_of = {"guide": options.guide, "prior": options.prior or options.guide}
    if len({name == "point" for name in families_of.values()}) > 1:
        raise ValueError(
            "--guide and --prior contradict: point has no latent scores; use it for both"
        )
    if families_of["guide"] == "point":
        for name in OF_SCORES:
            if getattr(options, name) is not None:
                raise ValueError(f"{_flag(name)} means nothing with --guide point")
        return {"user_scores": Point(), "item_scores": Point()}
    scales = {"guide": options.guide_scale, "prior": options.prior_scale}
    drawn = {}
    for side, name in families_of.items():
        default = getattr(SCORES, side)
        made_of = type(default) if name is None else families()[name]
        drawn[side] = made_of(default.scale if scales[side] is None else scales[side])
    scores = Scores(**drawn, **_given(options, "scope", "prior_mean"))
    sides = options.sides or ("both" if scores.scope == "interaction" else "user")
    return {
        "user_scores": Point() if sides == "item" else scores,
        "item_scores": Point() if sides == "user" else scores,
    }


def _objective(options: argparse.Namespace) -> Objective:
    made_of = LIKELIHOODS.get(options.likelihood, type(OBJECTIVE.likelihood))
    likelihood: Likelihood = made_of(**_given(options, "negatives"))
    given = _given(options, "kl_weight", "kl_reduction", "penalty")
    objective = Objective(likelihood, **given)
    if options.kl_warmup is None:
        return objective
    given["kl_weight"] = LinearWarmup(objective.kl_weight, options.kl_warmup)
    return Objective(likelihood, **given)


def _training(options: argparse.Namespace) -> Training:
    names = ("max_epochs", "patience", "learning_rate", "weight_decay", "negatives_exclude")
    return Training(**_given(options, *names, "seed", "device", "sparse"))


def _check_files(options: argparse.Namespace) -> None:
    if options.data not in DATA and not Path(options.data).exists():
        raise ValueError(
            f"--data {options.data!r}: choose from {', '.join(DATA)}, or name an existing file"
        )
    named = options.user or options.item or options.columns
    if named and not Path(options.data).is_file():
        raise ValueError(
            "--user, --item and --columns name columns of a ratings file; give one with --data"
        )
    if options.min_rating is not None and options.data == "synthetic":
        raise ValueError("--min-rating: the synthetic data has no ratings")
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"--out {options.out}: is a file, not a folder")
