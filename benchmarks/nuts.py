"""The guide's scores against the exact posterior, by NUTS, on a data set small enough for both.

    python benchmarks/nuts.py

Trains BAMF on synthetic data with the evidence bound proper (weight 1, sum) for each family, freezes
the networks, and draws the scores of a few held-out pairs of one user, labels given, from their
exact posterior with Pyro's NUTS. Prints, per site, the gap between the guide's mean of ln s and NUTS's in units of
NUTS's sd (root mean square over entries), the ratio of the two sds (median), and the Pareto k-hat
of the guide as an importance sampler. The guide is amortised, so a gap is information, not a bug.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pyro
import pyro.poutine as poutine
import torch
from pyro.infer import MCMC, NUTS

import bayes_recsys as br
from bayes_recsys.data import Batch
from bayes_recsys.diagnostics import import_arviz
from bayes_recsys.families import FAMILIES


def one_user(model: br.models.Model, split: br.data.Split, pairs: int, seed: int) -> Batch:
    """The two held-out positives and some negatives of a user with a short history.

    None of them is in the history: a masked entry has no density, and NUTS would drift along it.
    """
    lengths = model.histories.entries.lengths
    user = int(torch.where(lengths > 3, lengths, 10**6).argmin())
    own = split.items_by_user("validation", "test").row(user)
    rng = np.random.default_rng(seed)
    sampler = br.data.negative_sampler(split)
    other = sampler.draw(torch.tensor([user]), pairs - len(own), rng)[0]
    item = torch.cat([own, other])[None]
    batch = br.data.candidates(model.histories, torch.tensor([user]), item)
    label = (torch.arange(item.shape[1]) < len(own)).float()[None]
    return Batch(batch.user, item, batch.mask, batch.history, batch.history_mask, label)


def log_weights(model, batch, draws: int) -> np.ndarray:
    """``ln p(scores, labels) - ln q(scores)`` of draws from the guide."""
    values = []
    for _ in range(draws):
        guide = poutine.trace(model.guide).get_trace(batch)
        joint = poutine.trace(poutine.replay(model.model, guide)).get_trace(batch)
        values.append((joint.log_prob_sum() - guide.log_prob_sum()).item())
    return np.array(values)


def compare(family: str, scale: float, options: argparse.Namespace) -> list[dict]:
    synthetic = br.data.synthetic(n_users=60, n_items=80, length=(6, 12), seed=options.seed)
    split = br.data.leave_one_out(synthetic.interactions)
    torch.manual_seed(options.seed)
    make = FAMILIES[family]
    model = br.models.BAMF(
        br.data.histories(split), embedding_dim=8, beta=1.0, guide=make(scale), prior=make(1.0)
    )
    br.fit(
        model, split, kl_weight=1.0, kl_reduction="sum", max_epochs=options.epochs,
        learning_rate=1e-2, seed=options.seed, progress=False,
    )  # fmt: skip
    batch = one_user(model, split, options.pairs, options.seed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    pyro.set_rng_seed(options.seed)
    mcmc = MCMC(
        NUTS(model.model), num_samples=options.draws, warmup_steps=options.draws // 2,
        disable_progbar=True,
    )  # fmt: skip
    mcmc.run(batch)
    exact = mcmc.get_samples()
    with torch.no_grad():
        guide = br.draw(model, batch.user, batch.item, draws=4 * options.draws, seed=options.seed)
        # arviz.psislw returns the smoothed weights and k-hat.
        k_hat = float(import_arviz().psislw(log_weights(model, batch, 1000))[1])
    rows = []
    for site, draws in exact.items():
        theirs, ours = draws.log()[:, batch.valid], guide.scores[site].log()[:, batch.valid]
        gap = (ours.mean(0) - theirs.mean(0)) / theirs.std(0)
        rows.append(
            {
                "family": family,
                "guide scale": scale,
                "site": site,
                "entries": int(batch.valid.sum()),
                "mean gap / sd": gap.square().mean().sqrt().item(),
                "sd ratio": (ours.std(0) / theirs.std(0)).median().item(),
                "k-hat": k_hat,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.1, 1.0])
    options = parser.parse_args()
    rows = []
    for family in ("LogNormal", "Gamma", "Weibull"):
        for scale in options.scales:
            rows += compare(family, scale, options)
    print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
