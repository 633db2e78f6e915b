"""Labels of held-out pairs where not even the surest choice is certain."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.probability import held_out_draws
from bayes_recsys.memory import check_memory
from bayes_recsys.posterior.predictive import Predictive

# Tensors of all draws and pairs that a step holds at once.
TENSORS = 11
# Where steeper says no more, and overflows in the end.
STEEPEST = 50.0
# Of which there is a logarithm.
LEAST_LIKELY = 1e-300


def with_lapse(logits: Tensor, lapse: float) -> Tensor:
    """The log-odds of ``(1 - λ) σ(x)``.

    Example:
        >>> with_lapse(torch.tensor([0.0, 50.0]), 0.2).sigmoid()
        tensor([0.4000, 0.8000])
    """
    yes, no = logsigmoid(logits), logsigmoid(-logits)
    return yes + math.log1p(-lapse) - torch.logaddexp(no, yes + math.log(lapse))


class LapsingPairs:
    """Held-out pairs and their labels, positive with the probability ``(1 - λ) σ(a_u + exp(c_u) x)``, of which the mean over
    draws counts.

    Args:
        logits: ``x`` of every draw and pair, ``[S, R]``.
        sign: 1 where it is positive, -1 where not, ``[R]``.
        user: Whose, ``[R]``, below ``n_users``.
        n_users: ``M``.
    """

    def __init__(self, logits: Tensor, sign: Tensor, user: Tensor, n_users: int):
        self.logits, self.sign, self.user = logits, sign, user
        self.count = torch.bincount(user, minlength=n_users)

    @classmethod
    def of(
        cls, predictive: Predictive, split: Split, part: str, negatives: int, seed: int
    ) -> LapsingPairs:
        logits, signs, users = [], [], []
        n_pairs = len(getattr(split, part)) * (1 + negatives)
        for user, item, drawn, place in held_out_draws(predictive, split, part, negatives, seed):
            if not users:
                check_memory(
                    8.0 * TENSORS * len(drawn) * n_pairs,
                    f"{len(drawn):,} draws of {n_pairs:,} pairs",
                    "the predictive's draws",
                )
            if not drawn.isfinite().all():
                name = split.interactions.user_ids[user]
                raise ValueError(f"a held-out logit of user '{name}' is NaN or infinite")
            sign = -torch.ones(item.shape, dtype=torch.double)
            sign[:, 0] = 1.0
            logits.append(drawn[:, place.flatten()])
            signs.append(sign.flatten())
            users.append(torch.full((item.numel(),), user))
        n_users = split.interactions.n_users
        return cls(torch.cat(logits, dim=1), torch.cat(signs), torch.cat(users), n_users)

    def at(self, levels: Tensor, lapse: float) -> tuple[Tensor, Tensor, Tensor]:
        """Log likelihood ``[M]`` of each user's pairs at ``(a, c) [M, 2]``, its gradient ``[M, 2]``, and Fisher's
        information of the draws' own, ``[M, 2, 2]``, positive semidefinite."""
        scaled, yes, likelihood = self._labels(levels, lapse)
        share = likelihood / likelihood.sum(0)  # how much each draw explains the label
        missed = (1 - lapse) * yes * (1 - yes) / (1 - (1 - lapse) * yes)
        wrong = share * torch.where(self.sign > 0, 1 - yes, -missed)
        weight = share * missed * (1 - yes)
        rows = [likelihood.mean(0).log(), wrong.sum(0), (wrong * scaled).sum(0), weight.sum(0)]
        rows += [(weight * scaled).sum(0), (weight * scaled.square()).sum(0)]
        total = self._of_users(rows)
        curvature = torch.stack([total[3], total[4], total[4], total[5]], dim=-1)
        return total[0], total[1:3].T, curvature.unflatten(-1, (2, 2))

    def value(self, levels: Tensor, lapse: float) -> Tensor:
        """The log likelihood alone."""
        return self._of_users([self._labels(levels, lapse)[2].mean(0).log()])[0]

    def by_lapse(self, levels: Tensor, lapse: float) -> Tensor:
        """The log likelihood of each user's pairs, its derivative by the lapse, and Fisher's information of that, ``[3, M]``."""
        _, yes, likelihood = self._labels(levels, lapse)
        share = likelihood / likelihood.sum(0)
        odds = yes / (1 - (1 - lapse) * yes)
        slope = torch.where(self.sign > 0, -1 / (1 - lapse), (share * odds).sum(0))
        return self._of_users(
            [likelihood.mean(0).log(), slope, (share * odds).sum(0) / (1 - lapse)]
        )

    def _labels(self, levels: Tensor, lapse: float) -> tuple[Tensor, Tensor, Tensor]:
        """How logits move with ``c``, what is likely without a lapse, and how likely the label is, of each draw: ``[S, R]``."""
        scaled = levels[self.user, 1].clamp(max=STEEPEST).exp() * self.logits
        yes = (levels[self.user, 0] + scaled).sigmoid()
        chosen = (1 - lapse) * yes
        likelihood = torch.where(self.sign > 0, chosen, 1 - chosen).clamp(min=LEAST_LIKELY)
        return scaled, yes, likelihood

    def _of_users(self, rows: list[Tensor]) -> Tensor:
        of_pairs = torch.stack(rows)
        return of_pairs.new_zeros(len(rows), len(self.count)).index_add(1, self.user, of_pairs)
