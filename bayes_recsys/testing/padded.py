"""The usual way to write attention over histories, pair by pair and padded: an oracle, and what speed is measured
against.

Every training pair gathers its user's whole history, ``[256, 400, K]``, and attends over it with masks: what
public code does, in plain PyTorch and single precision, with the objective of the package.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributions import Gamma, LogNormal, Weibull
from torch.nn.functional import binary_cross_entropy_with_logits

import bayes_recsys as br
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.models import BAMF
from bayes_recsys.streams import stream

PAIRS, LONGEST = 256, 400


def batches(
    split: br.data.Split, histories: br.data.Histories, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """User, item, label ``[256]``, history and which of it is there and not the target ``[256, 400]``."""
    train, rng = split.items_by_user("train"), stream("padded", seed)
    negative = negative_sampler(split).draw(train.rows, 4, rng)
    item = torch.cat([train.values[:, None], negative], dim=1).flatten()
    user = train.rows.repeat_interleave(5)
    label = torch.tensor([1.0, 0, 0, 0, 0]).repeat(len(train.rows))
    table = torch.zeros(histories.n_users, LONGEST, dtype=torch.long)
    there = torch.zeros(histories.n_users, LONGEST, dtype=torch.bool)
    rows, mask = histories.history.padded(torch.arange(histories.n_users))
    table[:, : rows.shape[1]], there[:, : rows.shape[1]] = rows, mask
    for part in torch.from_numpy(rng.permutation(len(user))).split(PAIRS):
        history = table[user[part]]
        valid = there[user[part]] & (history != item[part, None])
        yield user[part], item[part], label[part], history, valid


class Padded(nn.Module):
    """BAMF over the user's history, its tables and networks those of a model of the package, so that the
    objectives can be compared to the digit.

    Args:
        model: One with ``combine="context"``.
        n_positives: Of every user, ``[M]``: a score that belongs to a user counts once over their pairs.
    """

    def __init__(self, model: BAMF, n_positives: Tensor):
        super().__init__()
        self.of, self.share = model, 1 / (5 * n_positives.float())
        self.sides = [model.user_attention, model.item_attention]

    def loss(
        self, user: Tensor, item: Tensor, label: Tensor, history: Tensor, valid: Tensor
    ) -> Tensor:
        """Negative log-likelihood and divergences of the pairs, by one draw, summed."""
        model = self.of
        key = model.history(history)  # [B, L, K]
        contexts, divergence, of_user = [], 0.0, None
        for query, attention in zip((model.user(user), model.item(item)), self.sides, strict=True):
            energy = self._energy(attention.energy, query, key)
            if not attention.is_random:
                score = energy.exp()
            else:
                guide = attention.scores.guide
                if guide.scale == "learned":
                    guide = guide.with_scale(attention.guide_scale(query, key))
                q = _law(guide, energy)
                prior = self._prior_log_mean(attention, key, valid)
                score = q.rsample()
                p = _law(attention.scores.prior, prior)
                terms = q.log_prob(score) - p.log_prob(score)
                terms = terms.masked_fill(~valid, 0.0).sum(1)
                divergence += (terms * self.share[user] if attention.of_user else terms).sum()
            if of_user is None:
                of_user = score
            elif model.strength == "both":
                score = score * of_user
            score = score.masked_fill(~valid, 0.0)
            total = score.sum(1, keepdim=True).clamp(min=1e-30)
            weight = score / total**attention.beta
            contexts.append((weight[:, None] @ key)[:, 0])
        logit = model.match(contexts[0] * contexts[1]).squeeze(-1)
        return divergence + binary_cross_entropy_with_logits(logit, label, reduction="sum")

    @staticmethod
    def _energy(energy: nn.Module, query: Tensor, key: Tensor) -> Tensor:
        query = query[:, None].expand_as(key)
        name = type(energy).__name__
        if name == "Dot":
            return (query * key).sum(-1)
        both = query * key if name == "Prod" else torch.cat([query, key], dim=-1)
        return energy.outer(energy.inner(both).relu()).squeeze(-1)

    @staticmethod
    def _prior_log_mean(attention: nn.Module, key: Tensor, valid: Tensor) -> Tensor:
        if attention.scores.prior_mean == "constant":
            return key.new_zeros(valid.shape)
        raw = 10 * torch.tanh(attention.prior_network(key).squeeze(-1) / 10)
        total = raw.exp().masked_fill(~valid, 0.0).sum(1, keepdim=True)
        return raw - (total / valid.sum(1, keepdim=True)).clamp(min=1e-30).log()


def _law(family: br.scores.RandomFamily, log_mean: Tensor) -> torch.distributions.Distribution:
    """Of PyTorch's own, with mean ``exp(log_mean)`` and the family's width."""
    if isinstance(family, br.LogNormal):
        return LogNormal(log_mean - family.scale**2 / 2, family.scale, validate_args=False)
    if isinstance(family, br.Gamma):
        shape = family.shape.float()
        return Gamma(shape, shape * (-log_mean).exp(), validate_args=False)
    k = family.concentration.item()
    scale = log_mean.exp() / math.gamma(1 + 1 / k)
    return Weibull(scale, torch.tensor(k), validate_args=False)
