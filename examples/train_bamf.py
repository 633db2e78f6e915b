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
from bamf_options import build_scores, parse
from ratings import load_ratings

import bayes_recsys as br
from bayes_recsys.data import DataError
from bayes_recsys.posterior import plot_attention, plot_loss

ENDINGS = {
    "epochs": "all epochs done",
    "patience": "no more improvement",
    "interrupted": "interrupted",
}
SHOWN = ("hr@10", "ndcg@10", "precision@10", "recall@10", "map@10")


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
    lengths = histories.history.lengths
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
