"""Train BAMF on a ratings data set, evaluate it, and look at its posterior.

    .venv/bin/python examples/train_bamf.py --data 100k --out demo
    .venv/bin/python examples/train_bamf.py --data path/to/ratings.csv --energy prod --combine prod

Writes into the output folder: metrics.json, recommendations.csv, posterior.nc (open it with
ArviZ), attention.png, loss.png and model/ (load it with bayes_recsys.load_model).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
import torch
from ratings import add_ratings, load_ratings

import bayes_recsys as br
from bayes_recsys.data import DATASETS, DataError
from bayes_recsys.diagnostics import plot_attention, plot_loss
from bayes_recsys.distributions import LEARNED_SCALES
from bayes_recsys.families import FAMILIES
from bayes_recsys.nn import COMBINES, ENERGIES
from bayes_recsys.scores import PRIOR_MEANS, SCOPES

DATA = (*DATASETS, "synthetic")
FAMILY_NAMES = {name.lower(): family for name, family in FAMILIES.items()}
ENDINGS = {
    "epochs": "all epochs done",
    "patience": "no more improvement",
    "interrupted": "interrupted",
}
SHOWN = ("hr@10", "ndcg@10", "precision@10", "recall@10", "map@10")


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


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
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
    options = parser.parse_args(arguments)

    refuse = parser.error
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
    options.prior = options.prior or options.guide
    if options.guide != options.prior and "point" in (options.guide, options.prior):
        refuse("--guide and --prior contradict: point has no latent scores; use it for both")
    if options.sides is None and options.scope == "interaction":
        options.sides = "both"
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
    if not 0 < options.beta <= 1:
        refuse(f"--beta must be in (0, 1], not {options.beta}")
    if not options.tau >= 1:
        refuse(f"--tau must be at least 1, not {options.tau}")
    if options.guide != "point":
        try:
            build_scores(options)
        except ValueError as error:
            refuse(f"--guide, --prior and their scales: {error}")
    if options.scope == "user" and options.sides != "user":
        refuse(f"--sides {options.sides} contradicts --scope user; use --scope interaction")
    if options.guide == "point" and options.kl_warmup is not None:
        refuse("--kl-warmup means nothing with --guide point")
    if options.likelihood == "bernoulli":
        if options.l2 is not None:
            refuse("--l2 belongs to --likelihood bradley-terry; else use --weight-decay")
        options.negatives = 4 if options.negatives is None else options.negatives
    else:
        options.negatives = 1 if options.negatives is None else options.negatives
        options.l2 = options.l2 or 0.0
    return options


def read_data(options: argparse.Namespace) -> br.data.Interactions:
    if options.data == "synthetic":
        return br.data.synthetic(seed=options.seed).interactions
    return load_ratings(options)


def build(options: argparse.Namespace, histories: br.data.Histories) -> br.models.BAMF:
    scores = br.Point() if options.guide == "point" else build_scores(options)
    return br.models.BAMF(
        histories,
        embedding_dim=options.embedding_dim,
        dropout=options.dropout,
        energy=options.energy,
        history=options.history,
        combine=options.combine,
        item_table=options.item_table,
        values=options.values,
        user_scores=br.Point() if options.sides == "item" else scores,
        item_scores=br.Point() if options.sides == "user" else scores,
        strength=options.strength,
        beta=options.beta,
        tau=options.tau,
    )


def build_scores(options: argparse.Namespace) -> br.Scores:
    return br.Scores(
        guide=FAMILY_NAMES[options.guide](options.guide_scale),
        prior=FAMILY_NAMES[options.prior](options.prior_scale),
        scope=options.scope,
        prior_mean=options.prior_mean,
    )


def build_likelihood(options: argparse.Namespace) -> br.Bernoulli | br.BradleyTerry:
    if options.likelihood == "bernoulli":
        return br.Bernoulli(negatives=options.negatives)
    return br.BradleyTerry(negatives=options.negatives, l2=options.l2)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.manual_seed(options.seed)
    interactions = read_data(options)
    split = br.data.split(interactions, seed=options.seed)
    histories = br.data.histories(split, max_length=options.max_length)
    model, likelihood = build(options, histories), build_likelihood(options)
    print(interactions, split, sep="\n")
    if not len(split.test):
        sys.exit("error: no user has enough interactions (6) for a test item")
    options.out.mkdir(parents=True, exist_ok=True)

    tempering = {}
    if options.guide != "point":
        weight = options.kl_weight
        if options.kl_warmup is not None:
            weight = br.LinearWarmup(weight, options.kl_warmup)
        tempering = {"kl_weight": weight, "kl_reduction": options.kl_reduction}
    fit = br.fit(
        model,
        split,
        likelihood,
        **tempering,
        negatives_exclude=options.negatives_exclude,
        max_epochs=options.epochs,
        patience=options.patience,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        seed=options.seed,
        accelerator=options.device,
    )
    if not fit.best_epoch:
        sys.exit("interrupted before the first epoch was finished: nothing was written")
    print(f"\nended: {ENDINGS[fit.stopped]}; kept epoch {fit.best_epoch} of {len(fit.history)}")

    br.save_model(model, options.out / "model")
    plot_loss(fit.history, fit.best_epoch).savefig(options.out / "loss.png", dpi=120)

    summaries, rows, figures = {}, {}, {"catalogue": {}}
    popularity = br.baselines.Popularity(split)
    for protocol in ("full", "sampled"):
        for name, scorer in (("popularity", popularity), ("BAMF", model)):
            evaluation = br.evaluate(scorer, split, protocol=protocol, progress=True)
            summary = evaluation.summary()
            if protocol == "full":
                figures["catalogue"][name] = evaluation.catalogue.to_dict("index")
            rows[protocol, name] = summary.loc[list(SHOWN)].apply(
                lambda m: f"{m['mean']:.3f} [{m.low:.3f}, {m.high:.3f}]", axis=1
            )
            summaries[name, protocol] = summary
    print("\nTest items ranked; mean over users [95 % bootstrap interval].")
    print(
        "full: against the whole catalogue; sampled: against 99 random items per positive, if there are."
    )
    print(pd.DataFrame(rows).T.to_string(), "\n")
    if options.negatives_exclude == "all":
        print("Held-out items were never drawn as negatives: a leak. Not comparable with others.\n")
    if options.likelihood == "bernoulli":
        print("Test items against as many negatives as in training, nats a pair:")
        figures["nll"] = {}
        for source in ("posterior", "prior") if model.is_random else ("posterior",):
            posterior = br.Posterior(model, source=source, seed=options.seed)
            nll = br.predictive_nll(
                posterior, split, negatives=options.negatives, seed=options.seed
            )
            figures["nll"][source] = float(nll.mean())
            print(f"  {nll.mean():.4f} with scores from the {source}")
        print()
    if model.is_random:
        print(
            "What the scores learned beyond their prior (nats an entry; effective 1 = even attention):"
        )
        learned = br.score_summary(model)
        figures["scores"] = json.loads(learned.to_json(orient="index"))
        print(learned.round(3).to_string(), "\n")
    write_metrics(options, interactions, fit, summaries, figures)

    recommendations = br.recommend(br.Posterior(model, draws=100, seed=options.seed), progress=True)
    recommendations.to_csv(options.out / "recommendations.csv", index=False)
    user = middling_user(histories)
    shown = recommendations[recommendations["user"] == user]
    print(
        f"Recommendations for user {user} (score: logit at expected scores, sd: of its posterior):"
    )
    print(shown.drop(columns="user").to_string(index=False), "\n")

    posterior = br.posterior_tree(model, [user], items=shown["item"].head(5), seed=options.seed)
    br.save_tree(posterior, options.out / "posterior.nc")
    plot_attention(posterior, user).savefig(options.out / "attention.png", dpi=120)
    print(f"Written to {options.out}: {', '.join(sorted(p.name for p in options.out.iterdir()))}")


def middling_user(histories: br.data.Histories) -> str:
    """A user to show: history of median length, the first such."""
    lengths = histories.entries.lengths
    return str(histories.user_ids[int((lengths == lengths.median()).nonzero()[0])])


def write_metrics(options, interactions, fit, summaries, figures) -> None:
    """metrics.json: everything the run's figures depend on, and the figures."""
    given = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    report = {
        "dataset": {
            "name": interactions.name,
            "users": interactions.n_users,
            "items": interactions.n_items,
            "interactions": len(interactions),
        },
        "model": type(fit.model).__name__,
        "options": given,
        "seed": options.seed,
        "epochs": len(fit.history),
        "best_epoch": fit.best_epoch,
        "stopped": fit.stopped,
        "seconds_per_epoch": round(float(fit.history["seconds"].mean()), 3),
        "protocols": {
            protocol: summaries["BAMF", protocol].to_dict("index")
            for protocol in ("full", "sampled")
        },
        "popularity": {
            protocol: summaries["popularity", protocol].to_dict("index")
            for protocol in ("full", "sampled")
        },
        **figures,
    }
    path = options.out / "metrics.json"
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (DataError, ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: what was written before is complete, the rest is missing")
