"""How often a user says yes, and how much a logit means with them: two latents a user, of a population."""

from __future__ import annotations

import math

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.probability import held_out_draws
from bayes_recsys.likelihoods import Bernoulli
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive
from bayes_recsys.streams import torch_seed

# Alternations of users and population, Newton steps in each, and halvings of a step that goes too far.
ROUNDS, STEPS, HALVINGS = 100, 2, 12
# The population is found when its mean and covariance move by less in a round.
CONVERGED = 1e-4
# Tensors of all draws and pairs that a step holds at once.
TENSORS = 8
# Where the population starts: as the model says it, give or take.
START_VARIANCE = (1.0, 0.25)


class UserLevels(Predictive):
    """A predictive whose log-odds mean what they did with each user's held-out pairs: ``x' = a_u + exp(c_u) x`` with
    ``(a_u, c_u) ~ Normal(μ, Σ)``.

    What a model is trained on cannot tell it how sure to be: there it is right too often. Of the validation part each user
    has a few pairs; the population ``μ, Σ``, learned from all of them, says how far these few are to be trusted (empirical
    Bayes), and what to expect of a user who has none. A user's posterior is Laplace's, its mode by Newton steps; the draws
    of the predictive are marginalised (MacKay, "The Evidence Framework Applied to Classification Networks", 1992, for both
    steps; Platt, "Probabilistic Outputs for Support Vector Machines", 1999, for one level of all users).

    Lists stay as they are: ``exp(c_u)`` is positive.

    Args:
        predictive: A ``Posterior``, ``DeepEnsemble``, .., or a model, fitted with ``Bernoulli``.
        split: The split of its histories.
        part: ``"validation"`` or ``"leave_one_out"``.
        seed: Seed of the pairs' negatives, and of the draws of levels.

    Attributes:
        mean: ``μ``, ``[2]``: of ``a`` and ``c``.
        covariance: ``Σ``, ``[2, 2]``.

    Raises:
        TypeError: It has no draws, or was fitted with another likelihood.
        ValueError: The part is empty, or is the test part.
        MemoryError: The logits of the part's pairs do not fit, ``draws`` of them each.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=30, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> levels = UserLevels(br.Posterior(model, draws=5), split)
        >>> levels.table().columns.tolist()
        ['level', 'level sd', 'slope', 'log slope sd', 'pairs']
        >>> levels.draw_logits(torch.tensor([0]), torch.tensor([[1, 2]])).shape
        torch.Size([5, 1, 2])
    """

    def __init__(
        self,
        predictive: Predictive | Model,
        split: Split,
        *,
        part: str = "validation",
        seed: int = 0,
    ):
        self.predictive = as_predictive(predictive)
        check_kind(split, Split, "a split (data.split(..))")
        check_whole("seed", seed, least=0)
        if part == "test":
            raise ValueError("part='test' would fit levels to what they are judged by")
        self.model, self.seed = self.predictive.model, seed
        if not isinstance(self.likelihood, Bernoulli):
            raise TypeError(
                f"levels are of Bernoulli's log-odds, not of {type(self.likelihood).__name__}'s logits"
            )
        pairs = _Pairs.of(self.predictive, split, part, seed)
        self.pairs = pairs.count
        self.mean = torch.zeros(2, dtype=torch.double)
        self.covariance = torch.tensor(START_VARIANCE, dtype=torch.double).diag()
        self._mode = self.mean.expand(len(self.pairs), 2).clone()
        there = self.pairs > 0  # those alone say what the population is
        for _ in range(ROUNDS):
            for _ in range(STEPS):
                self._mode, spread = self._newton(pairs)
            before = self.mean, self.covariance
            self.mean = self._mode[there].mean(0)
            apart = self._mode[there] - self.mean
            self.covariance = (apart[:, :, None] * apart[:, None] + spread[there]).mean(0)
            moved = self.mean - before[0], self.covariance - before[1]
            if max(one.abs().max() for one in moved) < CONVERGED:
                break
        self._mode, self._spread = self._newton(pairs)

    def _newton(self, pairs: _Pairs) -> tuple[Tensor, Tensor]:
        """A step of every user towards the mode, and the covariance there, ``[M, 2]`` and ``[M, 2, 2]``."""
        precision = torch.linalg.inv(self.covariance)
        value, gradient, curvature = pairs.at(self._mode)
        apart = self._mode - self.mean
        gradient = gradient - apart @ precision
        spread = torch.linalg.inv(curvature + precision)
        step = (spread @ gradient[..., None])[..., 0]

        def density(mode: Tensor, likelihood: Tensor) -> Tensor:
            away = mode - self.mean
            return likelihood - ((away @ precision) * away).sum(-1) / 2

        before, size = density(self._mode, value), torch.ones(len(step), 1, dtype=step.dtype)
        for _ in range(HALVINGS):
            mode = self._mode + size * step
            worse = density(mode, pairs.at(mode)[0]) < before - 1e-9
            if not worse.any():
                break
            size = torch.where(worse[:, None], size / 2, size)
        return self._mode + size * step, spread

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        logits = self.predictive.draw_logits(user, item)
        levels = []
        for one in user.tolist():
            random = torch.Generator().manual_seed(torch_seed("levels", self.seed, one))
            noise = torch.randn(len(logits), 2, generator=random, dtype=torch.double)
            root = torch.linalg.cholesky(self._spread[one])
            levels.append(self._mode[one] + noise @ root.mT)
        drawn = torch.stack(levels, dim=1)[..., None, :].to(logits.dtype)  # [S, G, 1, 2]
        return drawn[..., 0] + drawn[..., 1].exp() * logits

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """The predictive's own: levels change no order."""
        return self.predictive.score(user, item)

    def table(self) -> pd.DataFrame:
        """By user id: posterior median of ``level`` and ``slope``, standard deviations of the level and of the logarithm
        of the slope, and how many ``pairs`` told them."""
        sd = self._spread.diagonal(dim1=-2, dim2=-1).sqrt().numpy()
        columns = {
            "level": self._mode[:, 0].numpy(),
            "level sd": sd[:, 0],
            "slope": self._mode[:, 1].exp().numpy(),
            "log slope sd": sd[:, 1],
            "pairs": self.pairs.numpy(),
        }
        index = pd.Index(self.histories.user_ids.astype(str), name="user")
        return pd.DataFrame(columns, index)


class _Pairs:
    """Held-out pairs: logits ``[S, R]``, signs of labels ``[R]``, users ``[R]``."""

    def __init__(self, logits: Tensor, sign: Tensor, user: Tensor, n_users: int):
        self.logits, self.sign, self.user = logits, sign, user
        self.count = torch.bincount(user, minlength=n_users)

    @classmethod
    def of(cls, predictive: Predictive, split: Split, part: str, seed: int) -> _Pairs:
        logits, signs, users = [], [], []
        n_pairs = len(getattr(split, part)) * (1 + predictive.likelihood.negatives)
        for user, item, drawn, place in held_out_draws(predictive, split, part, None, seed):
            if not users:
                check_memory(
                    8.0 * TENSORS * len(drawn) * n_pairs,
                    f"{len(drawn):,} draws of {n_pairs:,} pairs",
                    "the predictive's draws",
                )
            sign = -torch.ones(item.shape, dtype=torch.double)
            sign[:, 0] = 1.0
            logits.append(drawn[:, place.flatten()])
            signs.append(sign.flatten())
            users.append(torch.full((item.numel(),), user))
        n_users = split.interactions.n_users
        return cls(torch.cat(logits, dim=1), torch.cat(signs), torch.cat(users), n_users)

    def at(self, mode: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log likelihood ``[M]`` of each user's pairs at ``(a, c) [M, 2]``, its gradient ``[M, 2]``, and the curvature
        of the draws' own, ``[M, 2, 2]``, which is positive definite."""
        level, slope = mode[self.user, 0], mode[self.user, 1].exp()
        scaled = slope * self.logits
        of_label = logsigmoid(self.sign * (level + scaled))  # [S, R]
        share = of_label.softmax(0)  # how much each draw explains the label
        wrong = share * self.sign * (1 - of_label.exp())
        weight = share * of_label.exp() * (1 - of_label.exp())
        rows = torch.stack(
            [
                of_label.logsumexp(0) - math.log(len(of_label)),
                wrong.sum(0),
                (wrong * scaled).sum(0),
                weight.sum(0),
                (weight * scaled).sum(0),
                (weight * scaled.square()).sum(0),
            ]
        )
        total = rows.new_zeros(6, len(mode)).index_add(1, self.user, rows)
        curvature = torch.stack([total[3], total[4], total[4], total[5]], dim=-1)
        return total[0], total[1:3].T, curvature.unflatten(-1, (2, 2))
