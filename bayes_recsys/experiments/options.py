"""The command line of train_bamf.py, and the typed objects that it makes.

What is not given is left to the objects' own defaults, and what they refuse is refused, before any data
is read.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from bayes_recsys.data.history import MAX_LENGTH
from bayes_recsys.data.sources import DATASETS
from bayes_recsys.experiments.published import NAMED, fill_in
from bayes_recsys.experiments.ratings import add_ratings, names_columns
from bayes_recsys.experiments.score_options import add_scores, as_flag, as_help, given, scores_of
from bayes_recsys.experiments.settings import Setting
from bayes_recsys.inference.objective import KL_REDUCTIONS, Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.inference.schedules import LinearWarmup
from bayes_recsys.likelihoods import Bernoulli, BradleyTerry, Likelihood, Softmax
from bayes_recsys.models import BAMF, Options
from bayes_recsys.models.bamf import CHOICES
from bayes_recsys.nn import COMBINES, ENERGIES

DATA = (*DATASETS, "synthetic")
# What an interrupted run leaves in its folder.
CHECKPOINT = "checkpoint.pt"
LIKELIHOODS = {"bernoulli": Bernoulli, "bradley-terry": BradleyTerry, "softmax": Softmax}
MODEL, OBJECTIVE, TRAINING = Options(BAMF, {}).values, Objective(), Training()


@dataclass(frozen=True)
class Command:
    """What a command line asks for.

    Args:
        ratings: Which ratings, for :func:`~bayes_recsys.experiments.ratings.load_ratings`.
        setting: Model and training.
        max_length: Longest history.
        out: Folder for what is written.
        resume: Whether to go on from the checkpoint that an interrupted run left there.
    """

    ratings: argparse.Namespace
    setting: Setting
    max_length: int
    out: Path
    resume: bool = False


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
    return Command(options, setting, options.max_length, options.out, options.resume)


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
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from where an interrupted run with this --out was",
    )
    _add_model(parser.add_argument_group("model"))
    add_scores(parser.add_argument_group("scores"))
    _add_objective(parser.add_argument_group("objective"))
    _add_training(parser.add_argument_group("training"))
    parser.set_defaults(monitor=None)  # the objects' own, or what --as stands for
    return parser


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
        group.add_argument(as_flag(name), choices=known, help=as_help(text, default))
    numbers = {
        "embedding_dim": (int, "length of the vectors"),
        "beta": (float, "smoothing, in (0, 1]"),
        "tau": (float, "sharpening, at least 1"),
        "dropout": (float, "in training, in [0, 1)"),
    }
    for name, (kind, text) in numbers.items():
        group.add_argument(as_flag(name), type=kind, help=as_help(text, MODEL[name]))
    group.add_argument(
        "--max-length",
        type=positive,
        default=MAX_LENGTH,
        help="longest history; the rarest items stay (default: %(default)s)",
    )


def _add_objective(group: argparse._ArgumentGroup) -> None:
    add, default = group.add_argument, type(OBJECTIVE.likelihood)
    name = next(name for name, one in LIKELIHOODS.items() if one is default)
    counts = ", ".join(f"{one().negatives or 'all'} {name}" for name, one in LIKELIHOODS.items())
    add("--likelihood", choices=LIKELIHOODS, help=as_help("what is observed", name))
    add("--negatives", type=int, help=as_help("per positive", counts))
    add("--penalty", type=float, help=as_help("on all parameters squared", OBJECTIVE.penalty))
    add(
        "--kl-weight",
        type=float,
        help=as_help("weight of the scores' terms; 1 is the ELBO", OBJECTIVE.kl_weight),
    )
    add("--kl-reduction", choices=KL_REDUCTIONS, help=as_help("over a history", "sum"))
    add("--kl-warmup", type=float, help=as_help("epochs over which the weight rises", "none"))


def _add_training(group: argparse._ArgumentGroup) -> None:
    add, decay = group.add_argument, TRAINING.decay(OBJECTIVE)
    add(
        "--epochs",
        dest="max_epochs",
        metavar="EPOCHS",
        type=int,
        help=as_help("at most", TRAINING.max_epochs),
    )
    add("--patience", type=int, help=as_help("epochs without improvement", TRAINING.patience))
    add("--learning-rate", type=float, help=as_help("step size", TRAINING.learning_rate))
    add(
        "--weight-decay",
        type=float,
        help=as_help("of embeddings and linear maps", f"{decay}, or 0 with --penalty"),
    )
    add(
        "--average",
        type=float,
        help=as_help(
            "decay of an average of the weights", f"{TRAINING.averaging}, or 0 with --sparse"
        ),
    )
    add(
        "--history-dropout",
        type=float,
        help=as_help("share of a history that is hidden in a step", TRAINING.history_dropout),
    )
    add(
        "--negatives-exclude",
        choices=("train", "all"),
        help="'all' never draws held-out positives as negatives: a leak, for comparison only "
        f"(default: {TRAINING.negatives_exclude})",
    )
    add("--seed", type=int, help=as_help("of split, initial weights and draws", TRAINING.seed))
    add(
        "--sparse",
        action="store_true",
        default=None,
        help="update only the rows of tables that a batch uses, for tables of millions (default: all rows)",
    )
    add("--device", help=as_help("cpu, cuda, mps, .. as torch names them", TRAINING.device))


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _model(options: argparse.Namespace) -> Options:
    names = ("energy", "combine", "item_table", "history", "values", "strength")
    numbers = ("embedding_dim", "beta", "tau", "dropout")
    values = given(options, *names, *numbers)
    return Options(BAMF, values | scores_of(options))


def _objective(options: argparse.Namespace) -> Objective:
    made_of = LIKELIHOODS.get(options.likelihood, type(OBJECTIVE.likelihood))
    likelihood: Likelihood = made_of(**given(options, "negatives"))
    weights = given(options, "kl_weight", "kl_reduction", "penalty")
    objective = Objective(likelihood, **weights)
    if options.kl_warmup is None:
        return objective
    weights["kl_weight"] = LinearWarmup(objective.kl_weight, options.kl_warmup)
    return Objective(likelihood, **weights)


def _training(options: argparse.Namespace) -> Training:
    names = (
        "max_epochs", "patience", "learning_rate", "weight_decay", "average", "history_dropout",
        "negatives_exclude", "seed", "device", "sparse", "monitor",
    )  # fmt: skip
    return Training(**given(options, *names))


def _check_files(options: argparse.Namespace) -> None:
    if options.data not in DATA and not Path(options.data).exists():
        raise ValueError(
            f"--data {options.data!r}: choose from {', '.join(DATA)}, or name an existing file"
        )
    if names_columns(options) and not Path(options.data).is_file():
        raise ValueError(
            "--user, --item, --rating, --timestamp, --columns and --encoding say how a ratings file reads; give "
            "one with --data"
        )
    if options.min_rating is not None and options.data == "synthetic":
        raise ValueError("--min-rating: the synthetic data has no ratings")
    left = options.out / CHECKPOINT
    if options.resume and not left.exists():
        raise ValueError(f"--resume: no interrupted run left {left}")
    if left.exists() and not options.resume:
        raise ValueError(
            f"--out {options.out}: an interrupted run is there; go on from it by --resume, or delete {left}"
        )
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"--out {options.out}: is a file, not a folder")
