"""How often a user says yes, and how much a logit means with them: two latents a user, of a population."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.lapsing import STEEPEST, TENSORS, LapsingPairs, with_lapse
from bayes_recsys.evaluation.protocols import check_part
from bayes_recsys.likelihoods import Bernoulli, Likelihood
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive
from bayes_recsys.streams import torch_seed

# Cycles of two rounds and a leap, Newton steps in each round, and halvings of a step that goes too far.
CYCLES, STEPS, HALVINGS = 100, 2, 12
# Of quadrature, in each of two directions: for the population, and for users in the end.
NODES, MORE_NODES = 3, 5
# The population is found when as many rounds as there may be would change what they climb by less, in nats.
CONVERGED = 0.02
# Rounds that a leap is worth at most.
LONGEST = 128.0
# A population is no narrower, nor wider than one over it.
NARROWEST = 1e-3
# Draws of a user's levels, at least.
LEAST = 50
# Where the population starts, as the model says it, give or take; it counts as so many users. Without, EM never ends where
# users do not differ (Chung et al., "Weakly Informative Prior for Point Estimation of Covariance Matrices", 2015).
COUNTS = 0.1
START = torch.tensor([1.0, 0.25], dtype=torch.double).diag()
# And the lapse, which ends no lower than the other. Before there is one it takes more than so many choices are sure of: where
# logits say little, it could else be any.
LAPSE, LEAST_LAPSE, SURE = 0.05, 1e-6, 20.0


class UserLevels(Predictive):
    """A predictive whose log-odds mean what they did with each user's held-out pairs: a choice has the probability
    ``(1 - λ) σ(a_u + exp(c_u) x)``, with ``(a_u, c_u) ~ Normal(μ + γ l_u, Σ)``.

    What a model is trained on cannot tell it how sure to be: there it is right too often. Of the validation part each user
    has a few pairs; the population, learned from all of them, says how far these few are to be trusted (empirical
    Bayes), and what to expect of a user who has none but ``l_u``, the logarithm of how many items were chosen in training,
    less its mean. The draws of the predictive are marginalised (MacKay, "The Evidence Framework Applied to Classification
    Networks", 1992; Platt, "Probabilistic Outputs for Support Vector Machines", 1999, for one level of all users); a user's
    posterior is normal, its mean and covariance by quadrature about the mode.

    The lapse ``λ`` is one number: what a user is sure to like is not always chosen, were it only that it was not seen, so
    that no log-odds make a choice certain (Wichmann and Hill, "The psychometric function: I", 2001). All is found by EM in
    leaps (Varadhan and Roland, "Simple and Globally Convergent Methods for Accelerating the Convergence of Any EM
    Algorithm", 2008).

    Lists stay as they are, and so does ``score``: ``exp(c_u)`` is positive, so that no draw orders items otherwise (the mean
    of the draws' probabilities may). The standard deviations of :func:`~bayes_recsys.posterior.recommendations.recommend`
    are those of log-odds with levels.

    Args:
        predictive: A ``Posterior``, ``DeepEnsemble``, .., or a model. Whatever it was fitted with: also what only ranks
            (``Softmax``, ``BradleyTerry``) has probabilities with levels.
        split: The split of its histories.
        part: ``"validation"`` or ``"leave_one_out"``.
        negatives: Beside each held-out positive, at least 1. ``None``: as many as the model was trained with; 4 where that
            were all items.
        seed: Seed of the pairs' negatives, and of the draws of levels.

    Attributes:
        population: ``μ`` and ``γ``, rows of ``[2, 2]``, whose columns are of ``a`` and ``c``.
        covariance: ``Σ``, ``[2, 2]``.
        lapse: ``λ``, in (0, 1).

    Raises:
        TypeError: It has no draws, or the split is none.
        ValueError: The part is unknown or empty, or is the test part; the model is of another split; ``negatives`` is below 1
            or more than there are items, the seed below 0; or a logit is NaN or infinite.
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
        pairs = LapsingPairs.of(self.predictive, split, part, self.likelihood.negatives, seed)
        self.pairs = pairs.count
        length = split.items_by_user("train").lengths.double().clamp(min=1.0).log()
        self._known = torch.stack([torch.ones_like(length), length - length.mean()], dim=1)
        # Logits may be of any size: the slope starts where it makes them as large as a standard deviation of 1.
        apart = (pairs.logits - pairs.logits.median()).abs().median()
        start = float(-(1.48 * apart).log()) if apart > 0 else 0.0
        self.population = torch.tensor([[0.0, start], [0.0, 0.0]], dtype=torch.double)
        self.covariance, self.lapse = START, LAPSE
        self._mode = self.mean
        self._find(pairs)
        self._mode, self._width = self._newton(pairs)
        self._levels, self._spread, *_ = self._moments(pairs, MORE_NODES)

    @property
    def mean(self) -> Tensor:
        """What the population says of each user, ``[M, 2]``: of ``a`` and ``c``."""
        return self._known @ self.population

    @property
    def likelihood(self) -> Likelihood:
        """``Bernoulli``, of a positive beside so many negatives."""
        return self._likelihood

    def _find(self, pairs: LapsingPairs) -> None:
        """The population and the lapse."""
        place = _packed(self.population, self.covariance, self.lapse)
        for _ in range(CYCLES):
            one, before = self._round(place, pairs)
            two, after = self._round(one, pairs)
            first, second = one - place, two - 2 * one + place
            rounds = (first.norm() / second.norm().clamp(min=1e-12)).clamp(min=1)
            if rounds * abs(after - before) < CONVERGED:
                break
            stride = rounds.clamp(max=LONGEST)
            place = _packed(*_unpacked(place + 2 * stride * first + stride**2 * second))
        else:
            warnings.warn(
                f"the population of levels still moves after {CYCLES} cycles: the pairs say little of it, and the levels "
                "depend on where it stopped. Fit the model, or give more held-out pairs",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.population, self.covariance, self.lapse = _unpacked(two)

    def _round(self, place: Tensor, pairs: LapsingPairs) -> tuple[Tensor, float]:
        """One of expectation and maximisation: users given the population, and the population given them. Where that is, and
        how likely the pairs and the population were before, in nats."""
        self.population, self.covariance, self.lapse = _unpacked(place)
        for _ in range(STEPS):
            self._mode, self._width = self._newton(pairs)
        levels, spread, lapse, likelihood = self._moments(pairs, NODES)
        there = self.pairs > 0  # those alone say what the population is
        known, levels = self._known[there], levels[there]
        population = torch.linalg.solve(known.T @ known + COUNTS * torch.eye(2), known.T @ levels)
        apart = levels - known @ population
        total = (apart[:, :, None] * apart[:, None] + spread[there]).sum(0)
        total = total + COUNTS * (population.T @ population + START)
        return _packed(population, total / (COUNTS + int(there.sum())), lapse), likelihood

    def _moments(self, pairs: LapsingPairs, nodes: int) -> tuple[Tensor, Tensor, float, float]:
        """Mean and covariance of each user's posterior, ``[M, 2]`` and ``[M, 2, 2]``, by quadrature about its mode (Naylor
        and Smith, "Applications of a Method for the Efficient Computation of Posterior Distributions", 1982); a step of
        Fisher's scoring for the lapse, by the mean over it; and what the rounds climb, the log likelihood of all pairs and
        the prior of the population, but for a constant."""
        node, weight = (torch.from_numpy(one) for one in np.polynomial.hermite.hermgauss(nodes))
        where = math.sqrt(2.0) * torch.cartesian_prod(node, node)  # [Q, 2]
        points = self._mode + torch.einsum("mij,qj->qmi", _root(self._width), where)
        away = points - self.mean
        of_pairs = torch.stack([pairs.by_lapse(one, self.lapse) for one in points])  # [Q, 3, M]
        prior = -((away @ torch.linalg.inv(self.covariance)) * away).sum(-1) / 2
        of_node = (torch.cartesian_prod(weight, weight).log() + where.square() / 2).sum(-1)
        joint = of_pairs[:, 0] + prior + of_node[:, None]
        share = joint.softmax(0)
        likelihood = joint.logsumexp(0).sum() + 0.5 * torch.logdet(self._width).sum()
        likelihood = likelihood - 0.5 * len(away[0]) * torch.logdet(self.covariance)
        likelihood = likelihood + self._prior()
        mean = (share[..., None] * points).sum(0)
        apart = points - mean
        spread = (share[..., None, None] * apart[..., None] * apart[..., None, :]).sum(0)
        sure = SURE / (1 - self.lapse)
        gradient = (share * of_pairs[:, 1]).sum().item() - sure
        information = (share * of_pairs[:, 2]).sum().item() + sure / (1 - self.lapse)
        return mean, spread, self.lapse + gradient / information, likelihood.item()

    def _prior(self) -> float:
        """Log density of the population and the lapse, but for a constant."""
        scatter = self.population.T @ self.population + START
        width = torch.logdet(self.covariance) + torch.trace(
            torch.linalg.solve(self.covariance, scatter)
        )
        return SURE * math.log1p(-self.lapse) - COUNTS / 2 * width.item()

    def _newton(self, pairs: LapsingPairs) -> tuple[Tensor, Tensor]:
        """A step of every user towards the mode, and the covariance where it began, ``[M, 2]`` and ``[M, 2, 2]``."""
        precision = torch.linalg.inv(self.covariance)
        value, gradient, curvature = pairs.at(self._mode, self.lapse)
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
            worse = density(mode, pairs.value(mode, self.lapse)) < before - 1e-9
            if not worse.any():
                break
            size = torch.where(worse[:, None], size / 2, size)
        else:
            size = torch.where(worse[:, None], 0.0, size)
        return self._mode + size * step, spread

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits ``[S, G, C]``, the same in every call: of each of the predictive's draws with as many levels that there are 50
        at least."""
        logits = self.predictive.draw_logits(user, item)
        times = math.ceil(LEAST / len(logits))
        size = 8.0 * TENSORS * times * logits.numel()
        check_memory(size, f"{times * len(logits):,} draws of logits", "how many users and items")
        # Of float32, logits near the most that a lapse allows would be the same.
        logits = logits.double().repeat_interleave(times, dim=0)
        levels = []
        for one in user.tolist():
            random = torch.Generator().manual_seed(torch_seed("levels", self.seed, one))
            noise = torch.randn(len(logits), 2, generator=random, dtype=torch.double)
            levels.append(self._levels[one] + noise @ _root(self._spread[one]).mT)
        drawn = torch.stack(levels, dim=1)[..., None, :]  # [S, G, 1, 2]
        return with_lapse(
            drawn[..., 0] + drawn[..., 1].clamp(max=STEEPEST).exp() * logits, self.lapse
        )

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """The predictive's own: of no draw do levels change the order."""
        return self.predictive.score(user, item)

    def table(self) -> pd.DataFrame:
        """By user id: posterior mean of ``level``, the ``slope`` at that of its logarithm, standard deviations of the level and
        of the logarithm of the slope, and how many ``pairs`` told them."""
        sd = self._spread.diagonal(dim1=-2, dim2=-1).sqrt().numpy()
        columns = {
            "level": self._levels[:, 0].numpy(),
            "level sd": sd[:, 0],
            "slope": self._levels[:, 1].exp().numpy(),
            "log slope sd": sd[:, 1],
            "pairs": self.pairs.numpy(),
        }
        index = pd.Index(self.histories.user_ids.astype(str), name="user")
        return pd.DataFrame(columns, index)


def _root(covariance: Tensor) -> Tensor:
    """``R`` with ``R Rᵀ`` the covariance, be it as good as singular."""
    size, direction = torch.linalg.eigh(covariance)
    return direction * size.clamp(min=0.0).sqrt()[..., None, :]


def _packed(population: Tensor, covariance: Tensor, lapse: float) -> Tensor:
    """As eight numbers, of which all but the last may be any."""
    root = torch.linalg.cholesky(covariance)
    lapse = min(max(lapse, LEAST_LAPSE), 1 - NARROWEST)
    of_widths = torch.cat([root.diagonal().log(), root[1, :1], root.new_tensor([lapse])])
    return torch.cat([population.flatten(), of_widths])


def _unpacked(place: Tensor) -> tuple[Tensor, Tensor, float]:
    root = place[4:6].exp().clamp(NARROWEST, 1 / NARROWEST).diag()
    root[1, 0] = place[6]
    lapse = place[7].clamp(LEAST_LAPSE, 1 - NARROWEST).item()
    return place[:4].unflatten(0, (2, 2)), root @ root.T, lapse
