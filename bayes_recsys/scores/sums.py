"""Sums over the entries that rows have: all that a log-density needs, and its gradient in one pass."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bayes_recsys.scores.present import Present


def total(x: Tensor, present: Present) -> Tensor:
    """``Σ_j x_j`` over the entries that each row has, ``[.., G, C]`` from ``x [.., G, C, L]``."""
    return _Total.apply(x, present)


def squares(x: Tensor, minus: Tensor | None, present: Present) -> tuple[Tensor, Tensor]:
    """``Σ_j x_j`` and ``Σ_j x_j²``, as :func:`total`; of ``x - minus`` if that is given."""
    return _Squares.apply(x, minus, present)


def powers(
    x: Tensor, minus: Tensor | None, present: Present, power: Tensor
) -> tuple[Tensor, Tensor]:
    """``Σ_j x_j`` and ``Σ_j exp(k x_j)`` for ``k = power``, without dimensions, as :func:`squares`."""
    return _Powers.apply(x, minus, present, power)


def _difference(x: Tensor, minus: Tensor | None, present: Present) -> Tensor:
    """``x - minus``, 0 where no entry is."""
    if minus is None:
        return present.clear_(x.clone(memory_format=torch.contiguous_format))
    return present.clear_((x - minus).contiguous())


def _and_minus(ctx, slope: Tensor) -> tuple[Tensor, Tensor | None]:
    return slope, -slope if ctx.needs_input_grad[1] else None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, present: Present) -> Tensor:
        ctx.present, ctx.shape = present, x.shape
        return present.sum(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, None]:
        if slope.is_cpu and not slope.any():  # the ln s of guide and prior take each other away
            return None, None
        return ctx.present.clear_(slope[..., None].expand(ctx.shape).contiguous()), None


class _Squares(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, minus: Tensor | None, present: Present) -> tuple[Tensor, Tensor]:
        x = _difference(x, minus, present)
        ctx.present = present
        ctx.save_for_backward(x)
        return x.sum(-1), torch.linalg.vector_norm(x, dim=-1).square()

    @staticmethod
    @once_differentiable
    def backward(ctx, of_sum: Tensor, of_squares: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (x,) = ctx.saved_tensors
        slope = torch.addcmul(of_sum[..., None], x, 2 * of_squares[..., None])
        return *_and_minus(ctx, ctx.present.clear_(slope)), None


class _Powers(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, minus: Tensor | None, present: Present, power: Tensor):
        x = _difference(x, minus, present)
        raised = (x * power).exp_()
        ctx.present = present
        ctx.save_for_backward(x, raised, power)
        absent = x.shape[-1] - present.count.to(x.dtype)  # each adds exp(0)
        return x.sum(-1), raised.sum(-1) - absent

    @staticmethod
    @once_differentiable
    def backward(ctx, of_sum: Tensor, of_powers: Tensor):
        x, raised, power = ctx.saved_tensors
        slope = torch.addcmul(of_sum[..., None], raised, (power * of_powers)[..., None])
        of_power = None
        if ctx.needs_input_grad[3]:
            of_power = ((x * raised).sum(-1) * of_powers).sum()
        return *_and_minus(ctx, ctx.present.clear_(slope)), None, of_power
