"""The guide's scores against their exact posterior, by NUTS, on data small enough for both.

    python benchmarks/nuts.py --figure docs/nuts.png
    python benchmarks/nuts.py --model runs/bamf/model --length 20 100

For every family and width of the guide (or for a saved model): trains BAMF on synthetic data with
the ELBO, takes a few users with all of their training pairs, refits the guide alone to these very
pairs, freezes everything, and draws the scores from their exact posterior with Pyro's NUTS. What is
left between the two is what a mean-field guide cannot say. Networks differ from row to row, since
each was trained under its own guide.

Prints the gap between the means of ln s in units of NUTS's sd (root mean square over scores), the
ratio of the sds (median); how far the means moved from the prior's, in units of its sd, by both, and
how these moves correlate, for the refitted guide and for the one that training left; the contraction by both;
and the Pareto k-hat of the guide as an importance sampler (median over users; above 0.7 it is no usable
proposal).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyro
import torch
from matplotlib.figure import Figure
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size
from pyro.poutine.messenger import Messenger
from torch import Tensor

import bayes_recsys as br
from bayes_recsys.experiments import Setting
from bayes_recsys.experiments.simulated import SITE, fit_elbo, log_weights
from bayes_recsys.inference import guide_only
from bayes_recsys.models import BAMF, Options
from bayes_recsys.posterior.importance import pareto_k
from bayes_recsys.scores import Gamma, LogNormal, Scores, Weibull
from bayes_recsys.streams import stream

FAMILIES = (LogNormal, Gamma, Weibull)
WIDTHS = {0.1: "#9ecae1", 1.0: "#084594", "learned": "#fd8d3c", "amortised": "#d94801"}


@dataclass(frozen=True)
class Comparison:
    """Means and sds of ln s by guide, by NUTS and by the prior, one per score, and means by the guide as it was
    before it was refitted; k-hat per user; of NUTS the least effective sample size (0: a score never moved) and
    the number of divergent transitions."""

    shipped: Tensor
    mean: Tensor
    sd: Tensor
    exact_mean: Tensor
    exact_sd: Tensor
    prior_mean: Tensor
    prior_sd: Tensor
    k_hat: np.ndarray
    effective: int
    divergent: int

    def row(self) -> dict[str, float]:
        gap = (self.mean - self.exact_mean) / self.exact_sd
        shipped, moved, exact_moved = (
            ((mean - self.prior_mean) / self.prior_sd).numpy()
            for mean in (self.shipped, self.mean, self.exact_mean)
        )
        return {
            "scores": len(self.mean),
            "mean gap / sd": gap.square().mean().sqrt().item(),
            "sd ratio": (self.sd / self.exact_sd).median().item(),
            "moved": float(np.sqrt(np.mean(moved**2))),
            "by NUTS": float(np.sqrt(np.mean(exact_moved**2))),
            "correlation": float(np.corrcoef(moved, exact_moved)[0, 1]),
            "as shipped": float(np.corrcoef(shipped, exact_moved)[0, 1]),
            "contraction": 1 - (self.sd / self.prior_sd).square().mean().item(),
            "by NUTS ": 1 - (self.exact_sd / self.prior_sd).square().mean().item(),
            "k-hat": float(np.median(self.k_hat)),
            "least ESS": self.effective,
            "divergent": self.divergent,
        }


def training_pairs(model: br.models.Model, user: Tensor, seed: int) -> br.data.Batch:
    """All training pairs of users ``[G]``: the entries of their histories, four negatives each."""
    entries = model.histories.history
    positive, mask = entries.padded(user)
    owner = user[:, None].expand(positive.shape).flatten()
    sampler = br.data.NegativeSampler(entries, model.histories.n_items)
    negative = sampler.draw(owner, 4, stream("negatives", seed)).view(*positive.shape, 4)
    item = torch.cat([positive[..., None], negative], dim=-1)
    label = torch.zeros(item.shape)
    label[..., 0] = 1
    batch = br.data.candidates(
        model.histories, user, item.flatten(1), mask[..., None].expand(item.shape).flatten(1)
    )
    return replace(batch, label=label.flatten(1), negatives=4)


class Unmasked(Messenger):
    """Padding gets the prior's density: it touches no label, and NUTS would drift along an entry
    without a density."""

    def _pyro_sample(self, msg) -> None:
        if msg["name"] == SITE:
            msg["fn"] = msg["fn"].score.to_event(1)


def train(family, width, options: argparse.Namespace) -> br.models.Model:
    """BAMF on a small synthetic data set."""
    data = br.data.synthetic(n_users=150, n_items=80, length=(12, 18), seed=options.seed)
    split = br.data.leave_one_out(data.interactions)
    scores = Scores(family(width), family(1.0))
    training = br.Training(
        learning_rate=1e-2,
        weight_decay=0.01,
        max_epochs=options.epochs,
        patience=options.epochs,
        seed=options.seed,
    )
    model = Options(BAMF, {"embedding_dim": 8, "user_scores": scores})
    return Setting(model, training=training).fit(split).model


def refit_guide(model: br.models.Model, batch: br.data.Batch, steps: int) -> None:
    """The ELBO of these very pairs over what only the guide uses; then all is frozen."""
    fit_elbo(model, batch, list(guide_only(model, batch)), steps, rate=0.02)
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def compare(model: br.models.Model, options: argparse.Namespace) -> Comparison:
    lengths = model.histories.history.lengths
    fitting = ((lengths >= options.length[0]) & (lengths <= options.length[1])).nonzero()[:, 0]
    if len(fitting) < options.users:
        fewest, most = options.length
        raise ValueError(
            f"only {len(fitting)} users have {fewest} to {most} choices, not {options.users}: give another --length"
        )
    user = fitting[stream("users", options.seed).permutation(len(fitting))[: options.users]]
    batch = training_pairs(model, user, options.seed)
    with torch.no_grad():
        shipped = model.attend(batch)[SITE].guide().expected_log
    refit_guide(model, batch, options.steps)
    pyro.set_rng_seed(options.seed)
    mcmc = MCMC(
        NUTS(Unmasked()(model.model)), num_samples=options.draws,
        warmup_steps=options.draws // 2, disable_progbar=True,
    )  # fmt: skip
    mcmc.run(batch)
    there = batch.history_mask[:, None]
    exact = mcmc.get_samples()[SITE].log()[:, there]
    site = model.attend(batch)[SITE]
    guide, prior = site.guide(), site.prior()
    k_hat = np.array([pareto_k(of_user) for of_user in log_weights(model, batch, 1000).T])
    return Comparison(
        shipped[there],
        guide.expected_log[there],
        guide.variance_log.sqrt()[there],
        exact.mean(0),
        exact.std(0),
        prior.expected_log[there],
        prior.variance_log.sqrt()[there],
        k_hat,
        round(effective_sample_size(exact[None]).nan_to_num().min().item()),
        len(mcmc.diagnostics()["divergences"]["chain 0"]),
    )


def picture(comparisons: dict) -> Figure:
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels = figure.subplots(1, len(FAMILIES), sharex=True, sharey=True, squeeze=False)[0]
    for axes, family in zip(panels, FAMILIES, strict=True):
        for width, colour in WIDTHS.items():
            c = comparisons[family.__name__, width]
            axes.plot(c.exact_sd, c.sd, ".", color=colour, label=f"width {width}", markersize=4)
        axes.axline((0.5, 0.5), slope=1, color="black", linewidth=1, linestyle=":")
        axes.set(title=family.__name__, xlabel="sd of ln s, exact (NUTS)", xlim=0, ylim=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("sd of ln s, guide")
    figure.axes[0].legend(frameon=False, fontsize=8, markerscale=2)
    return figure


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="check this saved model instead")
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--length", type=int, nargs=2, default=(5, 30), help="of their histories")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=400, help="of refitting the guide")
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    if options.model:
        model = br.load_model(options.model)
        if not getattr(getattr(model, SITE, None), "is_random", False):
            raise ValueError(f"{options.model}: the model has no random {SITE}: give a BAMF")
        one = compare(model, options)
        print(pd.DataFrame([one.row()]).round(2).to_string(index=False))
        return
    comparisons, rows = {}, []
    for family in FAMILIES:
        for width in WIDTHS:
            one = compare(train(family, width, options), options)
            comparisons[family.__name__, width] = one
            rows.append({"family": family.__name__, "width": width, **one.row()})
            print(rows[-1], flush=True)
    print(pd.DataFrame(rows).round(2).to_string(index=False))
    if options.figure:
        picture(comparisons).savefig(options.figure, dpi=110)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
