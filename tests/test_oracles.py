"""The whole machinery against posteriors known in closed form."""

from dataclasses import dataclass, replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy import special

import bayes_recsys as br
from bayes_recsys.data import Histories, Ragged
from bayes_recsys.models.base import Model
from bayes_recsys.nn import Attention, HistoryEntries, embedding

USERS, TARGETS = 12, 5


class LogScore(Model):
    """Histories of one entry: with β = ½ the context is √s, so the logit can be ln s itself."""

    def __init__(self, histories, *, scores=br.Scores()):
        super().__init__(histories)
        self.user = embedding(histories.n_users, 2)
        self.attention = Attention(2, scores=scores, beta=0.5)

    def attend(self, batch):
        key = torch.ones(*batch.history.shape, 2)  # the guide's mean and width are free
        query = self.user(batch.user)[:, None]
        return {"strength": self.attention(query, HistoryEntries(batch, key, key[..., :1]))}

    def logits(self, batch, contexts):
        return 2 * contexts["strength"].squeeze(-1).log()


@dataclass(frozen=True)
class Counts(br.Likelihood):
    """``y ~ Poisson(s)``: the gamma prior is conjugate."""

    negatives: int = 1

    def observe(self, logits, batch):
        with pyro.plate("candidate", logits.shape[-1], dim=-1):
            pyro.sample("y", dist.Poisson(logits.exp()), obs=batch.label)

    def log_likelihood(self, logits):
        raise NotImplementedError


@dataclass(frozen=True)
class Measurements(br.Likelihood):
    """``y ~ Normal(ln s, 0.8)``: the log-normal prior is conjugate."""

    negatives: int = 1

    def observe(self, logits, batch):
        with pyro.plate("candidate", logits.shape[-1], dim=-1):
            pyro.sample("y", dist.Normal(logits, 0.8), obs=batch.label)

    def log_likelihood(self, logits):
        raise NotImplementedError


def gamma_poisson(y, scale):
    a = br.Gamma(scale).shape.item()
    shape, rate = a + y.sum(1), a + y.shape[1]
    return special.digamma(shape) - np.log(rate), np.sqrt(special.polygamma(1, shape))


def normal_normal(y, scale):
    precision = 1 / scale**2 + y.shape[1] / 0.8**2
    mean = (-0.5 * scale**2 / scale**2 + y.sum(1) / 0.8**2) / precision
    return mean, np.full(len(y), precision**-0.5)


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize(
    ("family", "likelihood", "exact"),
    [(br.Gamma, Counts(), gamma_poisson), (br.LogNormal, Measurements(), normal_normal)],
)
def test_a_conjugate_posterior_is_recovered(family, likelihood, exact, elbo):
    """Mean and sd of ln s of every user, within 0.05 and 5 %."""
    rng = np.random.default_rng(0)
    strength = rng.lognormal(0, 1, size=(USERS, 1))
    y = rng.poisson(np.broadcast_to(strength, (USERS, TARGETS))).astype(float)
    one_each = Ragged(torch.arange(USERS + 1), torch.zeros(USERS, dtype=torch.long))
    ids = np.arange(USERS).astype(str)
    audience = Ragged.from_pairs(one_each.values, one_each.rows, TARGETS + 1)
    items = np.arange(TARGETS + 1).astype(str)
    histories = Histories(ids, items, None, one_each, audience, one_each)
    users = torch.arange(USERS)
    item = torch.arange(1, TARGETS + 1).expand(USERS, -1)
    label = torch.from_numpy(y).float()
    batch = replace(br.data.candidates(histories, users, item), label=label)

    torch.manual_seed(0)
    model = LogScore(histories, scores=br.Scores(family("amortised"), family(0.9)))
    model.likelihood = likelihood
    objective = elbo()(model, model.guide)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.997)
    for _ in range(1500):
        optimizer.zero_grad()
        objective(batch).backward()
        optimizer.step()
        decay.step()
    guide = model.attend(batch)["strength"].guide()
    mean, sd = exact(y, 0.9)
    np.testing.assert_allclose(guide.expected_log.detach()[:, 0, 0], mean, atol=0.05)
    np.testing.assert_allclose(guide.variance_log.sqrt().detach()[:, 0, 0], sd, rtol=0.05)
