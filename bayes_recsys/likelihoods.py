"""What is observed, given the logits of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from bayes_recsys.arguments import check_whole
from bayes_recsys.data.batches import Batch


class NoProbability(TypeError):
    """The likelihood knows no probability that a user chooses an item."""


@dataclass(frozen=True)
class Likelihood(ABC):
    """What a model observes of logits. Subclass it for another.

    A fitted model keeps the one it was fitted with as ``model.likelihood``, which is saved with it.
    A subclass is a frozen dataclass; its fields are numbers or text.

    Args:
        negatives: How many candidates of each positive are random negatives, at least 1; or ``None``:
            the whole catalogue is.

    Raises:
        ValueError: ``negatives`` is below 1.
    """

    negatives: int | None

    def __post_init__(self) -> None:
        if self.negatives is not None:
            check_whole("negatives", self.negatives)

    @abstractmethod
    def observe(self, logits: Tensor, batch: Batch) -> None:
        """The observed site for logits ``[.., G, C]``, called inside the ``block`` plate (dim -2).

        Its log-probability has the shape ``[.., G, .]``, a block's in the last dimension. What is
        masked in ``batch.mask`` must count nothing. With negatives, candidates are laid out
        positive first, ``C = P · (1 + negatives)``; without, they are all items, and ``batch.label``
        says which are positives.
        """

    @abstractmethod
    def log_likelihood(self, logits: Tensor) -> Tensor:
        """``ln p`` of every observation made of held-out positives.

        Args:
            logits: ``[.., P, 1 + n]``: of each positive, and behind it of its negatives (where
                ``negatives`` is ``None``, of all items that are new to the user).

        Returns:
            ``[.., P, n']``, of ``n'`` observations a positive.
        """

    def probability(self, logits: Tensor) -> Tensor:
        """Probability that a candidate is a positive, shape of ``logits``.

        Raises:
            NoProbability: There is none; the default.
        """
        name = type(self).__name__
        raise NoProbability(
            f"the model was fitted with {name}, whose logits rank items and are no probabilities; "
            "fit it with Bernoulli() for these"
        )


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Pointwise: each candidate is a positive with probability ``σ(x)`` (binary cross-entropy).

    A probability is relative to the sampler: with ``negatives`` uniform negatives per positive
    the base rate is ``1 / (1 + negatives)``.

    Args:
        negatives: Negatives drawn per positive, at least 1. The paper's choice is 4.

    Raises:
        ValueError: ``negatives`` is below 1.

    Example:
        >>> Bernoulli().probability(torch.zeros(2))
        tensor([0.5000, 0.5000])
    """

    negatives: int = 4

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """The site ``"label"``. Without labels it is drawn, not observed."""
        with pyro.plate("candidate", logits.shape[-1], dim=-1):
            pyro.sample("label", dist.Bernoulli(logits=logits).mask(batch.mask), obs=batch.label)

    def log_likelihood(self, logits: Tensor) -> Tensor:
        """``ln σ(x)`` of a positive, ``ln σ(-x)`` of a negative: ``[.., P, 1 + n]``."""
        return torch.cat([logsigmoid(logits[..., :1]), logsigmoid(-logits[..., 1:])], dim=-1)

    def probability(self, logits: Tensor) -> Tensor:
        """``σ(x)``."""
        return logits.sigmoid()


@dataclass(frozen=True)
class BradleyTerry(Likelihood):
    """Pairwise: a positive is preferred to each of its negatives with probability
    ``σ(x_pos - x_neg)`` (Rendle et al., "BPR", 2009).

    BPR's penalty is :class:`~bayes_recsys.inference.objective.Objective`'s.

    Args:
        negatives: Negatives compared with each positive, at least 1. The paper's choice is 1.

    Raises:
        ValueError: ``negatives`` is below 1.

    Example:
        >>> BradleyTerry().log_likelihood(torch.zeros(1, 2)).exp()
        tensor([[0.5000]])
    """

    negatives: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives is None:
            raise ValueError("negatives must be a whole number of at least 1, not None")

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """The site ``"preference"``. Without labels it is drawn, not observed."""
        if batch.negatives < 1:
            raise ValueError("BradleyTerry needs a training batch, each positive with negatives")
        logits = logits.unflatten(-1, (-1, 1 + batch.negatives))
        mask = batch.mask.unflatten(-1, (-1, 1 + batch.negatives))[..., 1:]
        difference = logits[..., :1] - logits[..., 1:]
        preferred = dist.Bernoulli(logits=difference).mask(mask).to_event(1)
        with pyro.plate("positive", difference.shape[-2], dim=-1):
            seen = None if batch.label is None else torch.ones_like(difference)
            pyro.sample("preference", preferred, obs=seen)

    def log_likelihood(self, logits: Tensor) -> Tensor:
        """``ln σ(x_pos - x_neg)``: ``[.., P, n]``."""
        return logsigmoid(logits[..., :1] - logits[..., 1:])


@dataclass(frozen=True)
class Softmax(Likelihood):
    """Each positive is chosen from the catalogue, with probability ``exp(x_i) / Σ_k exp(x_k)`` over what the user had not
    chosen otherwise (Liang et al., "Variational Autoencoders for Collaborative Filtering", 2018, section 2.1).

    It ranks: what counts is the positive's logit against all others'. With ``negatives`` the sum is over the positive
    and these, which are uniform, so that their correction would be the same for all of them (Bengio and Senécal,
    "Adaptive Importance Sampling", 2008): for catalogues whose every item is too many.

    Args:
        negatives: ``None``: the whole catalogue; or how many random items stand for it, at least 1.

    Raises:
        ValueError: ``negatives`` is below 1.

    Example:
        >>> Softmax().log_likelihood(torch.zeros(1, 4)).exp()
        tensor([[0.2500]])
    """

    negatives: int | None = None

    def observe(self, logits: Tensor, batch: Batch) -> None:
        """The site ``"choice"``: with negatives, which of a positive and these it is; else how often each item of the
        catalogue was chosen. Without labels one choice is drawn."""
        logits = logits.masked_fill(~batch.mask, LEAST)
        if self.negatives is None:
            choices = _Choices(logits[..., None, :])
            seen = None if batch.label is None else batch.label[:, None]
            pyro.sample("choice", choices, obs=seen)
            return
        logits = logits.unflatten(-1, (-1, 1 + self.negatives))
        mask = batch.mask.unflatten(-1, (-1, 1 + self.negatives))[..., 0]
        with pyro.plate("positive", logits.shape[-2], dim=-1):
            seen = None if batch.label is None else torch.zeros_like(mask, dtype=torch.long)
            pyro.sample("choice", dist.Categorical(logits=logits).mask(mask), obs=seen)

    def log_likelihood(self, logits: Tensor) -> Tensor:
        """``ln p`` of the positive among its candidates: ``[.., P, 1]``."""
        return logits.log_softmax(-1)[..., :1]


# The logit of what cannot be chosen: with -inf a label of 0 would be 0 · inf.
LEAST = -1e9


class _Choices(dist.TorchDistribution):
    """Independent choices among ``C`` candidates, as how often each was chosen, ``[.., C]``; of no order, and so many as
    there are: drawn is one.

    Args:
        logits: ``[.., C]``.
    """

    arg_constraints: ClassVar = {}
    support = constraints.independent(constraints.nonnegative, 1)

    def __init__(self, logits: Tensor):
        self.log_p = logits.log_softmax(-1)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> _Choices:
        return _Choices(self.log_p.expand(*batch_shape, -1))

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        return torch.distributions.OneHotCategorical(logits=self.log_p).sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return (self.log_p * value).sum(-1)
