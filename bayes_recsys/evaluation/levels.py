"""How often a user says yes, and how much a logit means with them: two latents a user, of a population."""

from __future__ import annotations

import math
import warnings

import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn.functional import logsigmoid

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.probability import held_out_draws
from bayes_recsys.evaluation.protocols import check_part
from bayes_recsys.likelihoods import Bernoulli, Likelihood
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive
from bayes_recsys.streams import torch_seed

# Cycles of two rounds and a leap, Newton steps in each round, and halvings of a step that goes too far.
CYCLES, STEPS, HALVINGS = 100, 2, 12
# The population is found when its mean and covariance move by less in a round.
CONVERGED = 1e-4
# Rounds that a leap is worth at most.
LONGEST = 128.0
# A population is no narrower, nor wider than one over it.
NARROWEST = 1e-3
# Draws of a user's levels, at least.
LEAST = 50
# Tensors of all draws and pairs that a step holds at once.
TENSORS = 8
# Where the population starts, as the model says it, give or take; it counts as so many users. Without, EM never ends where
# users do not differ (Chung et al., "Weakly Informative Prior for Point Estimation of Covariance Matrices", 2015).
COUNTS = 0.1
START = torch.tensor([1.0, 0.25], dtype=torch.double).diag()


class UserLevels(Predictive):
    """A predictive whose log-odds mean what they did with each user's held-out pairs: ``x' = a_u + exp(c_u) x`` with
    ``(a_u, c_u) ~ Normal(μ, Σ)``.

    What a model is trained on cannot tell it how sure to be: there it is right too often. Of the validation part each user
    has a few pairs; the population ``μ, Σ``, learned from all of them, says how far these few are to be trusted (empirical
    Bayes), and what to expect of a user who has none. A user's posterior is Laplace's, its mode by Newton steps; the draws
    of the predictive are marginalised (MacKay, "The Evidence Framework Applied to Classification Networks", 1992, for both
    steps; Platt, "Probabilistic Outputs for Support Vector Machines", 1999, for one level of all users). The population is
    found by EM in leaps (Varadhan and Roland, "Simple and Globally Convergent Methods for Accelerating the Convergence of
    Any EM Algorithm", 2008).

    Lists stay as they are: ``exp(c_u)`` is positive, so that no draw orders items otherwise (the mean of the draws'
    probabilities may).

    Args:
        predictive: A ``Posterior``, ``DeepEnsemble``, .., or a model. Whatever it was fitted with: also what only ranks
            (``Softmax``, ``BradleyTerry``) has probabilities with levels.
        split: The split of its histories.
        part: ``"validation"`` or ``"leave_one_out"``.
        negatives: Beside each held-out positive, at least 1. ``None``: as many as the model was trained with; 4 where that
            were all items.
        seed: Seed of the pairs' negatives, and of the draws of levels.

    Attributes:
        mean: ``μ``, ``[2]``: of ``a`` and ``c``.
        covariance: ``Σ``, ``[2, 2]``.

    Raises:
        TypeError: It has no draws.
        ValueError: The part is unknown or empty, or is the test part, or ``negatives`` is below 1.
        MemoryError: The logits of the part's pairs do not fit, ``draws`` of them each.

    Warns:
        ConvergenceWarning: The population is not found: the pairs do not tell it.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=30, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> levels = UserLevels(br.Posterior(model, draws=5), split)
        >>> levels.table().columns.tolist()
        ['level', 'level sd', 'slope', 'log slope sd', 'pairs']
        >>> levels.draw_logits(torch.tensor([0]), torch.tensor([[1, 2]])).shape
        torch.Size([50, 1, 2])
    """

    def __init__(
        self,
        predictive: Predictive | Model,
        split: Split,
        *,
        part: str = "validation",
        negatives: int | None = None,
        seed: int = 0,
    ):
        self.predictive = as_predictive(predictive)
        check_kind(split, Split, "a split (data.split(..))")
        check_whole("seed", seed, least=0)
        check_part(part)
        if part == "test":
            raise ValueError("part='test' would fit levels to what they are judged by")
        self.model, self.seed = self.predictive.model, seed
        negatives = self.predictive.likelihood.negatives if negatives is None else negatives
        self._likelihood = Bernoulli() if negatives is None else Bernoulli(negatives)
        pairs = _Pairs.of(self.predictive, split, part, self.likelihood.negatives, seed)
        self.pairs = pairs.count
        self.mean = torch.zeros(2, dtype=torch.double)
        self.covariance = START
        self._mode = self.mean.expand(len(self.pairs), 2).clone()
        place = _packed(self.mean, self.covariance)
        for _ in range(CYCLES):
            one = self._round(place, pairs)
            two = self._round(one, pairs)
            first, second = one - place, two - 2 * one + place
            stride = (first.norm() / second.norm().clamp(min=1e-12)).clamp(1, LONGEST)
            if stride * _moved(one, two) < CONVERGED:
                break
            place = place + 2 * stride * first + stride**2 * second
        else:
            warnings.warn(
                f"the population of levels still moves after {CYCLES} cycles: the pairs say little of it, and the levels "
                "depend on where it stopped. Fit the model, or give more held-out pairs",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.mean, self.covariance = _unpacked(two)
        self._mode, self._spread = self._newton(pairs)

    @property
    def likelihood(self) -> Likelihood:
        """``Bernoulli``, of a positive beside so many negatives."""
        return self._likelihood

    def _round(self, place: Tensor, pairs: _Pairs) -> Tensor:
        """One of expectation and maximisation: users given the population, and the population given them."""
        self.mean, self.covariance = _unpacked(place)
        for _ in range(STEPS):
            self._mode, spread = self._newton(pairs)
        there = self.pairs > 0  # those alone say what the population is
        number = COUNTS + int(there.sum())
        mean = self._mode[there].sum(0) / number
        apart = self._mode[there] - mean
        total = (apart[:, :, None] * apart[:, None] + spread[there]).sum(0)
        return _packed(mean, (total + COUNTS * (torch.outer(mean, mean) + START)) / number)

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
        """Logits ``[S, G, C]``, the same in every call: of each of the predictive's draws with as many levels that there are 50
        at least."""
        logits = self.predictive.draw_logits(user, item)
        logits = logits.repeat_interleave(math.ceil(LEAST / len(logits)), dim=0)
        levels = []
        for one in user.tolist():
            random = torch.Generator().manual_seed(torch_seed("levels", self.seed, one))
            noise = torch.randn(len(logits), 2, generator=random, dtype=torch.double)
            root = torch.linalg.cholesky(self._spread[one])
            levels.append(self._mode[one] + noise @ root.mT)
        drawn = torch.stack(levels, dim=1)[..., None, :].to(logits.dtype)  # [S, G, 1, 2]
        return drawn[..., 0] + drawn[..., 1].exp() * logits

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """The predictive's own: of no draw do levels change the order."""
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


def _packed(mean: Tensor, covariance: Tensor) -> Tensor:
    """As five numbers that may be any."""
    root = torch.linalg.cholesky(covariance)
    return torch.cat([mean, root.diagonal().log(), root[1, :1]])


def _unpacked(place: Tensor) -> tuple[Tensor, Tensor]:
    root = place[2:4].exp().clamp(NARROWEST, 1 / NARROWEST).diag()
    root[1, 0] = place[4]
    return place[:2], root @ root.T


def _moved(one: Tensor, other: Tensor) -> float:
    """By how much a mean or a covariance differs at most."""
    pairs = zip(_unpacked(one), _unpacked(other), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


class _Pairs:
    """Held-out pairs: logits ``[S, R]``, signs of labels ``[R]``, users ``[R]``."""

    def __init__(self, logits: Tensor, sign: Tensor, user: Tensor, n_users: int):
        self.logits, self.sign, self.user = logits, sign, user
        self.count = torch.bincount(user, minlength=n_users)

    @classmethod
    def of(
        cls, predictive: Predictive, split: Split, part: str, negatives: int, seed: int
    ) -> _Pairs:
        logits, signs, users = [], [], []
        n_pairs = len(getattr(split, part)) * (1 + negatives)
        for user, item, drawn, place in held_out_draws(predictive, split, part, negatives, seed):
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
