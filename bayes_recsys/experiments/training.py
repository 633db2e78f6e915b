"""Train one model, rank the test items with it, and look at its posterior."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_recsys.baselines import Popularity
from bayes_recsys.data.history import Histories, histories
from bayes_recsys.data.interactions import Interactions
from bayes_recsys.data.simulation import synthetic
from bayes_recsys.data.splits import Split, split
from bayes_recsys.distributed import Group, launched
from bayes_recsys.evaluation.probability import predictive_nll
from bayes_recsys.evaluation.protocols import PROTOCOLS
from bayes_recsys.evaluation.ranking import evaluate
from bayes_recsys.experiments.options import CHECKPOINT, Command
from bayes_recsys.experiments.ratings import load_ratings
from bayes_recsys.experiments.settings import Setting
from bayes_recsys.inference.checkpoint import Checkpoint
from bayes_recsys.inference.fitting import fit
from bayes_recsys.inference.result import Fit
from bayes_recsys.likelihoods import Bernoulli, BradleyTerry, Softmax
from bayes_recsys.models.base import Model
from bayes_recsys.models.folder import check_target, save_model
from bayes_recsys.posterior.arviz import posterior_tree, save_tree
from bayes_recsys.posterior.plots import plot_attention, plot_loss
from bayes_recsys.posterior.predictive import Posterior
from bayes_recsys.posterior.recommendations import recommend
from bayes_recsys.posterior.summary import score_summary
from bayes_recsys.records import write_json

ENDINGS = {"epochs": "all epochs done", "patience": "no more improvement"}
RESULTS = (
    "metrics.json", "recommendations.csv", "posterior.nc", "attention.png", "history.csv", "loss.png",
)  # fmt: skip
SHOWN = ("hr@10", "ndcg@10", "precision@10", "recall@10", "map@10")
OBSERVATIONS = {Bernoulli: "pair", BradleyTerry: "comparison", Softmax: "choice"}


def run(command: Command) -> None:
    """Read the ratings, then :func:`train`; by all processes together that ``torchrun`` has started."""
    ratings, seed = command.ratings, command.setting.training.seed
    is_made_up = ratings.data == "synthetic"
    with launched() as distributed:
        data = synthetic(seed=seed).interactions if is_made_up else load_ratings(ratings)
        training = replace(command.setting.training, distributed=distributed)
        setting = replace(command.setting, training=training)
        keep = Checkpoint(command.out / CHECKPOINT)
        train(data, setting, max_length=command.max_length, out=command.out, checkpoint=keep)


def train(
    data: Interactions,
    setting: Setting,
    *,
    max_length: int,
    out: Path,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Fit, evaluate and look; print what is found.

    Of several processes all train and rank, and the first one does the rest.

    Writes ``metrics.json``, ``recommendations.csv``, ``posterior.nc`` (open it with ArviZ),
    ``attention.png``, ``history.csv`` (a row an epoch), ``loss.png`` and ``model/`` (:func:`~bayes_recsys.models.folder.load_model`).

    Args:
        data: What is split, by the seed of the training.
        setting: Model, objective and training.
        max_length: Longest history.
        out: Folder for what is written.
        checkpoint: Where training is kept until it is done.

    Raises:
        ValueError: There is no test item.
        KeyboardInterrupt: Training was interrupted; the checkpoint has it.
    """
    seed, distributed = setting.training.seed, setting.training.distributed
    group = Group.of(distributed)
    parts = split(data, seed=seed)
    model = setting.build(histories(parts, max_length=max_length))
    print(data, parts, sep="\n")
    if not len(parts.test):
        raise ValueError("no user has enough interactions (6) for a test item")
    check_target(out / "model")
    out.mkdir(parents=True, exist_ok=True)
    try:
        outcome = fit(model, parts, setting.objective, setting.training, checkpoint=checkpoint)
    except FloatingPointError:
        if checkpoint is not None:  # there is nothing to go on to
            checkpoint.path.unlink(missing_ok=True)
        raise
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt(
            "the same command with --resume goes on from here"
            if checkpoint is not None
            else "nothing was written"
        )
    epochs = len(outcome.history)
    print(f"\nended: {ENDINGS[outcome.stopped]}; kept epoch {outcome.best_epoch} of {epochs}")
    if group.first:
        for name in RESULTS:  # of an earlier run: a model of now must not stand beside its figures
            (out / name).unlink(missing_ok=True)
        save_model(model, out / "model")
        outcome.history.to_csv(out / "history.csv", index=False)
        plot_loss(outcome.history, outcome.best_epoch).savefig(out / "loss.png", dpi=120)
        warn_of_nothing(outcome)

    figures = ranking(model, parts, distributed)
    if not group.first:
        return
    if setting.training.negatives_exclude == "all":
        print("Held-out items were never drawn as negatives: a leak. Not comparable with others.\n")
    figures |= {"nll": likelihoods(model, parts, seed)}
    if model.is_random:
        print(
            "How far the guide's scores are from their prior (nats an entry; effective 1 = even attention):"
        )
        learned = score_summary(model)
        figures["scores"] = json.loads(learned.to_json(orient="index"))
        print(learned.round(3).to_string(), "\n")
    report = about(data, setting, outcome, max_length) | figures
    write_json(report, out / "metrics.json")
    look(model, out, seed)
    if checkpoint is not None:
        checkpoint.path.unlink(missing_ok=True)
    print(f"Written to {out}: {', '.join(sorted(p.name for p in out.iterdir()))}")


def warn_of_nothing(outcome: Fit) -> None:
    """Say so if the model learned nothing."""
    if outcome.learned:
        return
    kept = outcome.history["held_out_nll"][outcome.history["epoch"] == outcome.best_epoch]
    print(
        f"It learned nothing that holds: on held-out choices it loses {kept.mean():.4f} nats, and one probability for "
        f"every item {outcome.base_nll:.4f}. Is there anything but noise in this data, and is training too long?"
    )


def ranking(model: Model, parts: Split, distributed: bool = False) -> dict[str, Any]:
    """The test items ranked by the model and by popularity, with intervals."""
    name = type(model).__name__
    scorers = {"popularity": Popularity(parts), name: model}
    summaries: dict[str, dict] = {one: {} for one in scorers}
    rows, catalogue = {}, {}
    for protocol in PROTOCOLS:
        for one, scorer in scorers.items():
            evaluation = evaluate(
                scorer, parts, protocol=protocol, progress=True, distributed=distributed
            )
            summary = evaluation.summary()
            if protocol == "full":
                catalogue[one] = evaluation.catalogue.to_dict("index")
            rows[protocol, one] = summary.loc[list(SHOWN)].apply(
                lambda m: f"{m['mean']:.3f} [{m.low:.3f}, {m.high:.3f}]", axis=1
            )
            summaries[one][protocol] = summary.to_dict("index")
    print("\nTest items ranked; mean over users [95 % bootstrap interval].")
    print(
        "full: against the whole catalogue; sampled: against 99 random items per positive, if there are."
    )
    print(pd.DataFrame(rows).T.to_string(), "\n")
    return {
        "protocols": summaries[name],
        "popularity": summaries["popularity"],
        "catalogue": catalogue,
    }


def likelihoods(model: Model, parts: Split, seed: int) -> Mapping[str, float]:
    """How probable the test items are with scores from the posterior, and from the prior."""
    observed = OBSERVATIONS.get(type(model.likelihood), "observation")
    of = model.likelihood.negatives
    against = "the whole catalogue" if of is None else "as many negatives as in training"
    print(f"Test items against {against}, nats a {observed}:")
    found = {}
    for source in ("posterior", "prior") if model.is_random else ("posterior",):
        nll = predictive_nll(Posterior(model, source=source, seed=seed), parts, seed=seed).mean()
        found[source] = float(nll)
        print(f"  {nll:.4f} with scores from the {source}")
    print()
    return found


def look(model: Model, out: Path, seed: int) -> None:
    """Recommend to everyone, and show what carries it for a user in the middle."""
    recommendations = recommend(Posterior(model, draws=100, seed=seed), progress=True)
    recommendations.to_csv(out / "recommendations.csv", index=False)
    user = middling_user(model.histories)
    shown = recommendations[recommendations["user"] == user]
    print(
        f"Recommendations for user {user} (score: logit at expected scores, sd: of its posterior):"
    )
    print(shown.drop(columns="user").to_string(index=False), "\n")
    posterior = posterior_tree(model, [user], items=shown["item"].head(5), seed=seed)
    save_tree(posterior, out / "posterior.nc")
    plot_attention(posterior, user).savefig(out / "attention.png", dpi=120)


def middling_user(known: Histories) -> str:
    """A user to show: history of median length, the first such."""
    lengths = known.history.lengths
    return str(known.user_ids[int((lengths == lengths.median()).nonzero()[0])])


def about(data: Interactions, setting: Setting, outcome: Fit, max_length: int) -> dict[str, Any]:
    """Everything the run's figures depend on."""
    return {
        "dataset": {
            "name": data.name,
            "users": data.n_users,
            "items": data.n_items,
            "interactions": len(data),
        },
        "model": type(outcome.model).__name__,
        "options": {"max_length": max_length, **setting.record()},
        "seed": setting.training.seed,
        "epochs": len(outcome.history),
        "best_epoch": outcome.best_epoch,
        "stopped": outcome.stopped,
        "learned": outcome.learned,
        "base_nll": outcome.base_nll,
        "seconds_per_epoch": round(float(outcome.history["seconds"].mean()), 3),
    }
