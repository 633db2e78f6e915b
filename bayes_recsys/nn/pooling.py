"""Histories as one vector: the kernel of attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding as look_up

from bayes_recsys.data.batches import Batch
from bayes_recsys.nn.weights import simplex
from bayes_recsys.scores.distribution import exp_of
from bayes_recsys.scores.present import Present

# Within ±60, exp and sums of it, their powers and their gradients are finite in single precision.
TAME = 60.0
# Looking up a vector for each candidate costs so many times its share of a product with all.
FEW = 8


def pool(log_score: Tensor, value: Tensor, batch: Batch, beta: float) -> Tensor:
    """``Σ_j α_j value_j`` with ``α = s / (Σ s)^β`` over each target's history without the target.

    Where all targets share one row of scores, so do all that stand outside the history share one
    vector; only those inside, each without itself, have their own. Then the cost is that of the few
    inside.

    Args:
        log_score: ``ln s``, shape ``[.., G, C, L]``, or ``[.., G, 1, L]`` if the same for all targets.
        value: ``[G, L, K]``.
        batch: Says which entries there are.
        beta: Smoothing exponent ``0 ≤ β ≤ 1``: 0 for a sum, 1 for an average.

    Returns:
        ``[.., G, C, K]``; zero where nothing is left of the history.
    """
    if log_score.shape[-2] > 1:
        return pool_rows(log_score, value, batch.present, beta)
    shared = pool_rows(log_score, value, batch.present_to_all, beta)
    shared = shared.expand(*shared.shape[:-2], batch.own.shape[1], -1)
    inside = batch.inside
    if not inside.shape[1]:
        return shared
    rows = log_score.expand(*log_score.shape[:-2], inside.shape[1], -1)
    without = pool_rows(rows, value, batch.present_inside, beta)
    return shared.scatter(-2, inside[..., None].expand_as(without), without)


def match(log_score: Tensor, value: Tensor, target: Tensor, batch: Batch, beta: float) -> Tensor:
    """``Σ_j α_j value_j · target_i``, shape ``[.., G, C]``: :func:`pool` and its product with each candidate's vector, for
    scores that all targets share, without a vector for every pair.

    Args:
        log_score: ``ln s``, shape ``[.., G, 1, L]``.
        value: ``[G, L, K]``.
        target: Vectors of all items, ``[N, K]``.
        batch: Says which entries and candidates there are.
        beta: Smoothing exponent.
    """
    shared = pool_rows(log_score, value, batch.present_to_all, beta)  # [.., G, 1, K]
    item, inside = batch.item, batch.inside
    if batch.whole or FEW * item.shape[1] > len(
        target
    ):  # one product for all, and of these the candidates
        logit = (shared @ target.mT).squeeze(-2)
        if not batch.whole:
            logit = logit.gather(-1, item.expand(logit.shape[:-1] + item.shape[1:]))
    else:
        logit = (shared @ look_up(item, target).mT).squeeze(-2)
    if not inside.shape[1]:
        return logit
    rows = log_score.expand(*log_score.shape[:-2], inside.shape[1], -1)
    without = pool_rows(rows, value, batch.present_inside, beta)  # [.., G, W, K]
    own = (without * look_up(item.gather(1, inside), target)).sum(-1)
    return logit.scatter(-1, inside.expand(own.shape), own)


def pool_rows(log_score: Tensor, value: Tensor, present: Present, beta: float) -> Tensor:
    """``Σ_j α_j value_j`` over the entries that each row has, ``[.., G, C, K]``.

    One pass for ``exp``, and the products of matrices: the sum of the scores comes out of the pooling
    product, by a column of ones. :func:`reference` is the same in words of the formula.

    Args:
        log_score: ``ln s``, ``[.., G, C, L]``.
        value: ``[G, L, K]``.
        present: Which entries there are. (A row that is not real gets what it would if it were.)
        beta: Smoothing exponent.

    Example:
        >>> present = Present.without(torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3, 0]]))
        >>> value = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> pool_rows(torch.zeros(1, 2, 3), value, present, beta=1.0)
        tensor([[[2.0000],
                 [2.5000]]])
    """
    return _Pool.apply(log_score, value, present, beta, exp_of(log_score))


def reference(log_score: Tensor, value: Tensor, present: Present, beta: float) -> Tensor:
    """:func:`pool_rows` by way of the weights."""
    return simplex(log_score, present.mask, beta) @ value


class _Pool(torch.autograd.Function):
    """With ``S = Σ s`` and ``c = S^-β Σ_j s_j v_j``,

    ``∂/∂ln s_j = s_j (S^-β v_j · ∂c - β (c · ∂c) / S)``, ``∂/∂v_j = Σ s_j S^-β ∂c``.
    """

    @staticmethod
    def forward(
        ctx, log_score: Tensor, value: Tensor, present: Present, beta: float, drawn: Tensor | None
    ) -> Tensor:
        score, shift = _exp(log_score, present, drawn)
        with_ones = torch.cat([value, value.new_ones(*value.shape[:-1], 1)], dim=-1)
        pooled = _product(score, with_ones)
        total = pooled[..., -1:]
        is_empty = total == 0
        total = total.masked_fill(is_empty, 1.0)
        factor = total.pow(-beta)
        if shift is not None:
            factor = factor * ((1 - beta) * shift).exp()
        context = pooled[..., :-1] * factor
        ctx.beta = beta
        ctx.save_for_backward(score, with_ones, total, factor, context)
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        score, with_ones, total, factor, context = ctx.saved_tensors
        scaled = slope * factor
        of_score = of_value = None
        if ctx.needs_input_grad[0]:
            of_total = (context * slope).sum(-1, keepdim=True).mul_(-ctx.beta).div_(total)
            of_score = _product(torch.cat([scaled, of_total], dim=-1), with_ones.mT).mul_(score)
        if ctx.needs_input_grad[1]:
            of_value = _product(score.mT, scaled)
            of_value = of_value.sum_to_size(*with_ones.shape[:-1], scaled.shape[-1])
        return of_score, of_value, None, None, None


def _product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right``, which for three dimensions each would be looked at from all sides first."""
    return torch.bmm(left, right) if left.ndim == right.ndim == 3 else left @ right


def _exp(log_score: Tensor, present: Present, drawn: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Scores ``exp(ln s - shift)``, 0 where no entry is, and the shift of each row, if there is need
    of one; without one they may have been ``drawn``."""
    out = torch.empty(log_score.shape, dtype=log_score.dtype, device=log_score.device)
    if log_score.is_cpu:  # elsewhere the question would wait for the answer
        low, high = log_score.aminmax() if log_score.numel() else (0.0, 0.0)
        if low >= -TAME and high <= TAME:
            score = torch.exp(log_score, out=out) if drawn is None else out.copy_(drawn)
            return present.clear_(score), None
    mask = Present(present.there, present.n_rows, present.own).mask
    valid = log_score.masked_fill(~mask, -torch.inf)
    shift = valid.amax(-1, keepdim=True)
    shift = shift.masked_fill(shift == -torch.inf, 0.0)
    return torch.exp(valid - shift, out=out), shift
