"""Do intervals of scores hold the truth whatever the data are like? Guide and exact posterior by design.

    python benchmarks/designs.py

Simulates as calibration.py does, one design a row: how many labelled pairs a user has, how far logits are apart, how
long histories are, which family; and labels that play both of their parts, each an outcome and, if it is a choice,
history for all that comes after it. Networks are known; a guide of learned width is fitted, and the scores are drawn
from their exact posterior by bayes_recsys.inference.hmc. Prints the share of true scores in 90 % intervals with
standard errors over users; how much narrower than the prior a score is (contraction), and how posterior means
correlate with the truth, each by guide and exactly; the share of users for whom the guide is a usable proposal
(k-hat below 0.7); and R-hat of the exact draws (its 95 % quantile over scores). Then the same correlations with
all networks learned from the same labels.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from pyro.ops.stats import split_gelman_rubin
from torch import Tensor

import bayes_recsys as br
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.experiments.simulated import SITE, Design, fit_elbo, log_weights
from bayes_recsys.inference.hmc import sample_scores
from bayes_recsys.posterior.importance import pareto_k
from bayes_recsys.scores import Gamma, Weibull

BOTH_ROLES = "choices become history"
DESIGNS = {
    "as in calibration.py": {},
    "20 pairs a user": {"pairs": 20},
    "200 pairs a user": {"pairs": 200},
    "logits half as far apart": {"logit_sd": 1.0},
    "logits twice as far apart": {"logit_sd": 4.0},
    "histories of 32 to 40": {"length": (40, 50)},
    "gamma scores": {"family": Gamma},
    "Weibull scores": {"family": Weibull},
    BOTH_ROLES: {},
}


def sequence(truth, batch) -> tuple[br.models.BAMF, br.data.Batch, Tensor]:
    """The same users and items again, asked one after the other: what is chosen joins the history of what follows."""
    histories, users = truth.histories, batch.user
    everything = torch.arange(histories.n_items).expand(len(users), -1)
    family = truth.user_attention.scores.prior
    score = family.distribution(torch.zeros(everything.shape)).sample()
    start, there = histories.history.padded(users)
    chosen = [(users[:, None].expand(start.shape)[there], start[there])]
    label = torch.zeros(batch.item.shape)
    for step in range(batch.item.shape[1]):
        asked = br.data.candidates(histories, users, batch.item[:, step : step + 1])
        attended = truth.attend(asked)
        known = {SITE: score.gather(1, asked.history).log()[:, None]}
        rest = {n: one.expected_log_power() for n, one in attended.items() if n not in known}
        logit = truth.logits_of(asked, attended, truth.strengths({**rest, **known}))[:, 0]
        is_new = asked.own[:, 0] == asked.history.shape[1]
        taken = (torch.rand(len(users)) < logit.sigmoid()) & is_new
        label[:, step] = torch.where(is_new, taken.float(), torch.nan)
        chosen.append((users[taken], batch.item[taken, step]))
        user, item = (torch.cat(parts) for parts in zip(*chosen, strict=True))
        histories = replace(histories, history=Ragged.from_pairs(user, item, len(users)))
        truth.histories = histories
    asked = br.data.candidates(histories, users, batch.item, ~label.isnan())
    true = score.gather(1, asked.history).masked_fill(~asked.history_mask, torch.nan)
    return truth, replace(asked, label=label.nan_to_num()), true


@torch.no_grad()
def held(draws: Tensor, true: Tensor, level: float = 0.9) -> tuple[float, float]:
    """Share of true scores in central intervals of draws ``[S, G, L]``, and its standard error over users."""
    rank = (draws < true).double().mean(0)
    inside = ((rank - 0.5).abs() <= level / 2).double().masked_fill(true.isnan(), torch.nan)
    of_users = inside.nanmean(1)
    return of_users.mean().item(), (of_users.std() / len(of_users) ** 0.5).item()


@torch.no_grad()
def correlation(means: Tensor, true: Tensor) -> float:
    """Of means of ``ln s`` with the truth."""
    real = ~true.isnan()
    return float(np.corrcoef(means[real], true[real].log())[0, 1])


def learned_networks(truth, batch, design: Design, steps: int) -> br.models.BAMF:
    """A model of the same shape, everything of it learned from the labels."""
    torch.manual_seed(design.seed + 1)
    model = design.model(truth.histories, "learned")
    return fit_elbo(model, batch, list(model.parameters()), steps, rate=0.01, decay=0.1)


def row(name: str, design: Design, draws: int, steps: int) -> dict[str, str]:
    """One design."""
    truth, batch, true = design.simulate()
    if name == BOTH_ROLES:
        truth, batch, true = sequence(truth, batch)
    guided = design.guided(truth, batch, "learned", steps)
    learned = learned_networks(truth, batch, design, steps)
    exact, of_learned = (
        sample_scores(model, batch, draws=draws, warmup=draws // 2, seed=(design.seed,))
        for model in (truth, learned)
    )
    with torch.no_grad():
        guide = guided.attend(batch)[SITE].guide()
        prior = truth.attend(batch)[SITE].prior()
        real = ~true.isnan()
        prior_variance = prior.variance_log.expand(guide.batch_shape)[:, 0][real].mean()
        by_guide, error = held(guide.sample((1000,)).squeeze(-2), true)
        by_exact, exact_error = held(exact.flatten(0, 1), true)
        log = exact.log()
        narrowed = [
            1 - (variance[real].mean() / prior_variance).item()
            for variance in (guide.variance_log[:, 0], log.flatten(0, 1).var(0))
        ]
        weights = log_weights(guided, batch, 500)
        means = {
            "guide": guide.expected_log[:, 0],
            "exact": log.mean((0, 1)),
            "guide, learned": learned.attend(batch)[SITE].guide().expected_log[:, 0],
            "exact, learned": of_learned.log().mean((0, 1)),
        }
        related = {name: correlation(mean, true) for name, mean in means.items()}
    usable = np.mean([pareto_k(of_user) < 0.7 for of_user in weights.T])
    return {
        "90 %: guide": f"{by_guide:.3f} ± {error:.3f}",
        "exact": f"{by_exact:.3f} ± {exact_error:.3f}",
        "contraction: guide": f"{narrowed[0]:.2f}",
        "exact ": f"{narrowed[1]:.2f}",
        "correlation: guide": f"{related['guide']:.2f}",
        "exact  ": f"{related['exact']:.2f}",
        "learned: guide": f"{related['guide, learned']:.2f}",
        "exact   ": f"{related['exact, learned']:.2f}",
        "k-hat < 0.7": f"{usable:.0%}",
        "R-hat": f"{split_gelman_rubin(log)[real].quantile(0.95):.2f}",
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--users", type=int, default=200)
    add(
        "--pairs",
        type=int,
        default=60,
        help="labelled pairs per user, where the design says no other",
    )
    add("--draws", type=int, default=150, help="of each of two chains")
    add("--steps", type=int, default=600)
    add("--seed", type=int, default=0)
    add("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    options = parser.parse_args(arguments)
    rows = {}
    for name in options.designs:
        base = Design(users=options.users, pairs=options.pairs, seed=options.seed)
        design = replace(base, **DESIGNS[name])
        rows[name] = row(name, design, options.draws, options.steps)
        print(name, rows[name], flush=True)
    print(pd.DataFrame.from_dict(rows, orient="index").to_string())


if __name__ == "__main__":
    main()
