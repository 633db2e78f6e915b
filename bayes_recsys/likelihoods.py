"""What is observed, given the logits of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_recsys.data.batches import Batch


@dataclass(frozen=True)
class Bernoulli:
    """Pointwise: each candidate is a positive with probability ``σ(x)`` (binary cross-entropy).

    A probability is relative to the sampler: with ``negatives`` uniform negatives per positive
    the base rate is ``1 / (1 + negatives)``.

    Args:
        negatives: Negatives drawn per positive, at least 1. The paper's choice is 4.

    Raises:
        ValueError: ``negatives`` is below 1.
    """

    negatives: int = 4
    l2 = 0.0

    def __post_init__(self) -> None:
        _check_negatives(self.negatives)

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """The observed site ``"label"`` for logits ``[G, C]``; call inside the ``block`` plate. Without
        labels the site is drawn, not observed."""
        with pyro.plate("candidate", logits.shape[-1], dim=-2):
            pyro.sample(
                "label",
                dist.Bernoulli(logits=logits[..., None]).mask(batch.mask[..., None]),
                obs=None if batch.label is None else batch.label[..., None],
            )


@dataclass(frozen=True)
class BradleyTerry:
    """Pairwise: a positive is preferred to each of its negatives with probability
    ``σ(x_pos - x_neg)`` (Rendle et al., "BPR", 2009), with the penalty ``λ‖Θ‖²``.

    Args:
        negatives: Negatives compared with each positive, at least 1. The paper's choice is 1.
        l2: λ, not negative: added once to the objective of the whole data set, over embeddings and
            linear maps, those of the guide included (not over biases, norms, global queries, widths of
            scores).

    Raises:
        ValueError: ``negatives`` is below 1 or ``l2`` is negative.
    """

    negatives: int = 1
    l2: float = 0.0

    def __post_init__(self) -> None:
        _check_negatives(self.negatives)
        if not (math.isfinite(self.l2) and self.l2 >= 0):
            raise ValueError(f"l2 must not be negative, but is {self.l2}")

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """The observed site ``"preference"`` for logits ``[G, C]``; call inside the ``block`` plate."""
        if batch.negatives < 1:
            raise ValueError("BradleyTerry needs a training batch, each positive with negatives")
        logits = logits.unflatten(-1, (-1, 1 + batch.negatives))
        mask = batch.mask.unflatten(-1, (-1, 1 + batch.negatives))[..., 1:]
        difference = logits[..., :1] - logits[..., 1:]
        with (
            pyro.plate("positive", difference.shape[-2], dim=-2),
            pyro.plate("negative", difference.shape[-1], dim=-1),
        ):
            pyro.sample(
                "preference",
                dist.Bernoulli(logits=difference).mask(mask),
                obs=torch.ones_like(difference),
            )


Likelihood = Bernoulli | BradleyTerry


def _check_negatives(negatives: int) -> None:
    if not isinstance(negatives, Integral) or negatives < 1:
        raise ValueError(f"negatives must be a whole number of at least 1, not {negatives}")
