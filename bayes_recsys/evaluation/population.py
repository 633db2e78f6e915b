"""The users' levels as a population: what they have in common, and what each one's are."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from bayes_recsys.evaluation.lapsing import LapsingPairs

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
# Where the population starts, as the model says it, give or take; it counts as so many users. Without, EM never ends where
# users do not differ (Chung et al., "Weakly Informative Prior for Point Estimation of Covariance Matrices", 2015).
COUNTS = 0.1
START = torch.tensor([1.0, 0.25], dtype=torch.double).diag()
# And the lapse, which ends no lower than the other. Before there is one it takes more than so many choices are sure of: where
# logits say little, it could else be any.
LAPSE, LEAST_LAPSE, SURE = 0.05, 1e-6, 20.0


class Population:
    """``(a_u, c_u) ~ Normal(μ + γ l_u, Σ)`` and the lapse ``λ``, where labels have the probability
    ``(1 - λ) σ(a_u + exp(c_u) x)``: found by EM in leaps (Varadhan and Roland, 2008), a user's posterior by quadrature.

    Args:
        pairs: Held-out pairs of all users.
        length: ``l_u`` of each, ``[M]``, of mean 0.

    Attributes:
        coefficients: ``μ`` and ``γ``, rows of ``[2, 2]``, whose columns are of ``a`` and ``c``.
        covariance: ``Σ``, ``[2, 2]``.
        lapse: ``λ``, in (0, 1).
        levels: Posterior mean of each user's ``(a, c)``, ``[M, 2]``.
        spread: Posterior covariance of it, ``[M, 2, 2]``.

    Warns:
        ConvergenceWarning: It is not found: the pairs do not tell it.

    Example:
        >>> pairs = LapsingPairs(
        ...     logits=torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.double),
        ...     sign=torch.tensor([1.0, -1.0, -1.0], dtype=torch.double),
        ...     user=torch.tensor([0, 0, 1]),
        ...     n_users=3,
        ... )
        >>> Population(pairs, torch.zeros(3, dtype=torch.double)).levels.shape
        torch.Size([3, 2])
    """

    def __init__(self, pairs: LapsingPairs, length: Tensor):
        self._known = torch.stack([torch.ones_like(length), length], dim=1)
        # Logits may be of any size: the slope starts where it makes them as large as a standard deviation of 1.
        apart = (pairs.logits - pairs.logits.median()).abs().median()
        start = float(-(1.48 * apart).log()) if apart > 0 else 0.0
        self.coefficients = torch.tensor([[0.0, start], [0.0, 0.0]], dtype=torch.double)
        self.covariance, self.lapse = START, LAPSE
        self._mode = self.mean
        self._find(pairs)
        self._mode, self._width = self._newton(pairs)
        self.levels, self.spread, *_ = self._moments(pairs, MORE_NODES)

    @property
    def mean(self) -> Tensor:
        """What the population says of each user, ``[M, 2]``: of ``a`` and ``c``."""
        return self._known @ self.coefficients

    def _find(self, pairs: LapsingPairs) -> None:
        """The population and the lapse."""
        place = _packed(self.coefficients, self.covariance, self.lapse)
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
                stacklevel=4,
            )
        self.coefficients, self.covariance, self.lapse = _unpacked(two)

    def _round(self, place: Tensor, pairs: LapsingPairs) -> tuple[Tensor, float]:
        """One of expectation and maximisation: users given the population, and the population given them. Where that is, and
        how likely the pairs and the population were before, in nats."""
        self.coefficients, self.covariance, self.lapse = _unpacked(place)
        for _ in range(STEPS):
            self._mode, self._width = self._newton(pairs)
        levels, spread, lapse, likelihood = self._moments(pairs, NODES)
        there = pairs.count > 0  # those alone say what the population is
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
        points = self._mode + torch.einsum("mij,qj->qmi", root(self._width), where)
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
        scatter = self.coefficients.T @ self.coefficients + START
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


def root(covariance: Tensor) -> Tensor:
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
