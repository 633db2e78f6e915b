"""The scores of whole rows as one site: what Pyro samples."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints, kl_divergence, transform_to
from torch.distributions.kl import register_kl
from torch.utils.weak import WeakTensorKeyDictionary

from bayes_recsys.scores.distribution import Score, log_of, was_drawn
from bayes_recsys.scores.present import Present
from bayes_recsys.scores.sums import total

_TOTALS = WeakTensorKeyDictionary()


class ScoreRows(TorchDistribution):
    """Independent scores, ``L`` a row; a row's log-probability is the sum over the entries it has.

    Batch shape ``[G, C]``, event shape ``[L]``. Entries that are not there have a value, which counts
    nothing.

    Args:
        score: Their distribution, batch shape ``[G, C, L]``.
        present: Which entries each row has.

    Example:
        >>> from bayes_recsys import LogNormal
        >>> present = Present(torch.tensor([[[True, True, False]]]), n_rows=1)
        >>> rows = ScoreRows(LogNormal(1.0).distribution(torch.zeros(1, 1, 3)), present)
        >>> rows.sample().shape, rows.log_prob(torch.ones(1, 1, 3))
        (torch.Size([1, 1, 3]), tensor([[-2.0879]]))
    """

    arg_constraints: ClassVar = {}
    has_rsample = True

    def __init__(self, score: Score, present: Present, *, validate_args: bool | None = None):
        self.score, self.present = score, present
        super().__init__(
            score.batch_shape[:-1], score.batch_shape[-1:], validate_args=validate_args
        )

    @property
    def support(self) -> PositiveScores:
        """Positive, with a place in unconstrained space for each entry that is there and no other."""
        return PositiveScores(self.present)

    def expand(self, batch_shape, _instance=None) -> ScoreRows:
        """The same of another batch shape, as PyTorch's distributions."""
        new = self._get_checked_instance(ScoreRows, _instance)
        new.score, new.present = self.score.expand((*batch_shape, *self.event_shape)), self.present
        super(ScoreRows, new).__init__(
            torch.Size(batch_shape), self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape=torch.Size()) -> Tensor:
        return self.score.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """``Σ_j ln p(s_j)`` over a row's entries, ``[.., G, C]`` from ``[.., G, C, L]``."""
        if not was_drawn(value):  # elsewhere, where padding may be anything, NaN too
            value = value.where(self.present.mask, 1.0)
        if self._validate_args:
            self._validate_sample(value)
        noise, minus = self.score.noise_and_minus(value)
        density = self.score.family.log_density_of_rows(noise, self.present, minus)
        return self._of_real_rows(density - self._total_log(value))

    @property
    def mean(self) -> Tensor:
        return self.score.mean

    @property
    def variance(self) -> Tensor:
        return self.score.variance

    def entropy(self) -> Tensor:
        """Sum over a row's entries, batch shape."""
        return self.score.entropy().where(self.present.mask, 0.0).sum(-1)

    def _total_log(self, value: Tensor) -> Tensor:
        """``Σ_j ln s_j``, for guide and prior the same node of the graph: there their gradients meet, and
        take each other away."""
        present, with_gradient, known = _TOTALS.get(value, (None, None, None))
        if present is not self.present or with_gradient != torch.is_grad_enabled():
            known = total(log_of(value), self.present)
            _TOTALS[value] = self.present, torch.is_grad_enabled(), known
        return known

    def _of_real_rows(self, values: Tensor) -> Tensor:
        rows = self.present.rows
        return values if rows is None else values.where(rows, 0.0)


class PositiveScores(constraints.Constraint):
    """Tables ``[.., G, C, L]`` of positive scores, of which only the ``n`` entries that are there are free.

    Samplers that move in unconstrained space (NUTS) move ``ln s [.., n]`` of these, and padding, which has no
    density, stays 1.

    Example:
        >>> present = Present(torch.tensor([[[True, True, False]]]), n_rows=1)
        >>> biject_to(PositiveScores(present))(torch.zeros(2))
        tensor([[[1., 1., 1.]]])
    """

    event_dim = 1

    def __init__(self, present: Present):
        self.present = present
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Of each row, ``[.., G, C]``."""
        return (value > 0).all(-1)


class OfEntries(Transform):
    """``[.., n]`` numbers as the logarithms of the ``n`` scores that are there in a table ``[.., G, C, L]``.

    Args:
        present: Which are there.
    """

    domain = constraints.real_vector
    bijective = True

    def __init__(self, present: Present):
        super().__init__()
        self.present = present

    @property
    def codomain(self) -> PositiveScores:
        return PositiveScores(self.present)

    @cached_property
    def place(self) -> Tensor:
        """Of each entry in the flattened table, ``[n]``."""
        return self.present.mask.flatten().nonzero()[:, 0]

    def _call(self, x: Tensor) -> Tensor:
        shape = self.present.shape
        table = x.new_ones(*x.shape[:-1], shape.numel())
        return table.index_copy(-1, self.place, x.exp()).view(*x.shape[:-1], *shape)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.flatten(-3).index_select(-1, self.place).log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """``Σ ln s``, ``[..]``."""
        return x.sum(-1)


@biject_to.register(PositiveScores)
@transform_to.register(PositiveScores)
def _of_entries(constraint: PositiveScores) -> OfEntries:
    return OfEntries(constraint.present)


@register_kl(ScoreRows, ScoreRows)
def _kl(q: ScoreRows, p: ScoreRows) -> Tensor:
    return kl_divergence(q.score, p.score).where(q.present.mask, 0.0).sum(-1)
