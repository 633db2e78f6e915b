"""BAMF whose true scores are known, and what is fitted to what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyro.poutine as poutine
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch, candidates
from bayes_recsys.data.history import Histories, histories
from bayes_recsys.data.simulation import synthetic
from bayes_recsys.data.splits import split
from bayes_recsys.models.bamf import BAMF
from bayes_recsys.scores.distribution import RandomFamily
from bayes_recsys.scores.families import LogNormal
from bayes_recsys.scores.spec import Scores

SITE = "user_attention"
N_ITEMS, DIM = 200, 16


@dataclass(frozen=True)
class Design:
    """What simulated data are like.

    Args:
        family: Of scores, ``LogNormal``, ``Gamma`` or ``Weibull``.
        users: How many.
        pairs: Labelled pairs a user.
        logit_sd: Standard deviation of logits over pairs.
        length: Choices a user has, at least and at most; eight tenths of them are history.
        seed: Of all that is drawn.
    """

    family: type[RandomFamily] = LogNormal
    users: int = 400
    pairs: int = 60
    logit_sd: float = 2.0
    length: tuple[int, int] = (10, 15)
    seed: int = 0

    def model(self, of: Histories, width: float | str) -> BAMF:
        """A fresh model, its guide of this width."""
        scores = Scores(self.family(width), self.family(1.0))
        return BAMF(of, embedding_dim=DIM, user_scores=scores)

    def simulate(self) -> tuple[BAMF, Batch, Tensor]:
        """Networks, pairs with labels, and the true scores ``[G, L]`` (NaN where there are none)."""
        data = synthetic(
            n_users=self.users, n_items=N_ITEMS, length=self.length, seed=self.seed
        ).interactions
        of = histories(split(data, seed=self.seed))
        torch.manual_seed(self.seed)
        truth = self.model(of, "amortised")
        with torch.no_grad():
            truth.item.weight.normal_(0, 0.5)
            truth.history.weight.normal_(0, 1.0)
            truth.match[0].weight.normal_(0, 0.5)
            truth.match[1].weight.normal_(0, 0.5)
            user = torch.arange(self.users)
            item = torch.randint(of.n_items, (self.users, self.pairs))
            batch = candidates(of, user, item)
            truth.match[0].bias.zero_()
            truth.match[1].weight.mul_(self.logit_sd / truth.expected_logits(batch).std())
            trace = poutine.trace(truth.model).get_trace(batch)
        label = trace.nodes["label"]["value"].squeeze(-1)
        score = trace.nodes[SITE]["value"].squeeze(-2)
        return truth, replace(batch, label=label), score.masked_fill(~batch.history_mask, torch.nan)

    def guided(self, truth: BAMF, batch: Batch, width: float | str, steps: int) -> BAMF:
        """The ELBO over the guide's parameters alone, the networks as they are."""
        torch.manual_seed(self.seed)
        model = self.model(truth.histories, width)
        model.load_state_dict({**model.state_dict(), **generative(truth)})
        guide = [p for name, p in model.named_parameters() if name not in generative(truth)]
        return fit_elbo(model, batch, guide, steps)


def fit_elbo(
    model: BAMF,
    batch: Batch,
    trained: Sequence[nn.Parameter],
    steps: int,
    *,
    rate: float = 0.03,
    decay: float = 0.0,
) -> BAMF:
    """The ELBO over these parameters."""
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=decay)
    slower = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.02 ** (1 / steps))
    objective = Trace_ELBO()(model, model.guide)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(batch).backward()
        optimizer.step()
        slower.step()
    return model


def generative(model: BAMF) -> dict[str, Tensor]:
    """The parameters of the generative side: with ``combine="context"`` the users' vectors are the
    guide's alone."""
    state = model.state_dict()
    return {k: v for k, v in state.items() if not k.startswith(("user.", f"{SITE}."))}


def log_weights(model: BAMF, batch: Batch, draws: int) -> np.ndarray:
    """``ln p(scores, labels) - ln q(scores)`` of draws from the guide, by user, ``[draws, G]``."""
    values = []
    for _ in range(draws):
        guide = poutine.trace(model.guide).get_trace(batch)
        joint = poutine.trace(poutine.replay(model.model, guide)).get_trace(batch)
        guide.compute_log_prob()
        joint.compute_log_prob()
        terms = [joint.nodes["label"], joint.nodes[SITE]]
        value = sum(node["log_prob"].sum(-1) for node in terms)
        values.append(value - guide.nodes[SITE]["log_prob"].sum(-1))
    return torch.stack(values).numpy()
