"""Several opinions on a logit: what a posterior, an ensemble or dropout leaves open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayes_recsys.arguments import check_kind
from bayes_recsys.data.history import Histories
from bayes_recsys.likelihoods import Likelihood, NoProbability
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.draws import check_draws, draw_logits
from bayes_recsys.streams import torch_seed
from bayes_recsys.threads import one_thread


def as_predictive(scorer: Predictive | Model) -> Predictive:
    """A model is taken for its posterior.

    Raises:
        TypeError: ``scorer`` has no draws: it is neither.
    """
    if isinstance(scorer, Model):
        return Posterior(scorer)
    check_kind(scorer, (Predictive, Model), "a model, Posterior, DeepEnsemble or MCDropout")
    return scorer


class Predictive:
    """Draws of logits. The predictive probability is the mean of their probabilities.

    Attributes:
        model: The model that draws, or the first of several of the same histories and likelihood.
    """

    model: Model

    @property
    def histories(self) -> Histories:
        """Those of the model or models."""
        return self.model.histories

    @property
    def likelihood(self) -> Likelihood:
        """What the model or models were fitted to observe; it decides what a probability is."""
        return self.model.likelihood

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits ``[S, G, C]`` of candidates ``item [G, C]`` for users ``user [G]``; the same in every
        call."""
        raise NotImplementedError

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores ``[G, C]`` for ranking, without sampling noise."""
        raise NotImplementedError


@dataclass(frozen=True)
class Posterior(Predictive):
    """Draws of the latent scores; the networks are as they were fitted.

    Args:
        model: A fitted model. Without random scores every draw is the same.
        draws: Number of draws ``S``.
        source: ``"posterior"`` (through the guide) or ``"prior"``.
        seed: Seed of the draws.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> Posterior(model, draws=7).draw_logits(torch.tensor([0]), torch.tensor([[1, 2]])).shape
        torch.Size([7, 1, 2])
    """

    model: Model
    draws: int = 50
    source: str = "posterior"
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind(self.model, Model, "a model")
        check_draws(self.draws, self.source, self.seed)

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        return draw_logits(
            self.model, user, item, draws=self.draws, source=self.source, seed=self.seed
        )

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """The model's: logits at expected scores."""
        return self.model.score(user, item)


class DeepEnsemble(Predictive):
    """Models that were fitted from different initial weights, each a draw. Lakshminarayanan, Pritzel
    and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles" (2017).

    Args:
        models: Fitted models of the same split, at least two. They say their logit at expected scores.

    Raises:
        ValueError: There are fewer than two models, something is no model, or they have different
            histories or likelihoods.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> models = [br.models.GMF(br.data.histories(split), embedding_dim=4) for _ in range(3)]
        >>> DeepEnsemble(models).draw_logits(torch.tensor([0]), torch.tensor([[1, 2]])).shape
        torch.Size([3, 1, 2])
    """

    def __init__(self, models: Sequence[Model]):
        for one in models:
            check_kind(one, Model, "of each member its model")
        if len(models) < 2:
            raise ValueError("an ensemble needs at least two models of this package")
        first = models[0].histories.history.values
        if not all(torch.equal(first, one.histories.history.values) for one in models):
            raise ValueError("the models of an ensemble must be of the same split")
        if any(one.likelihood != models[0].likelihood for one in models):
            raise ValueError("the models of an ensemble must be fitted with the same likelihood")
        self.models, self.model = list(models), models[0]

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        return torch.stack([model.score(user, item) for model in self.models])

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Log predictive probability ``ln 1/S Σ_s p(x⁽ˢ⁾)``; where the likelihood knows none, the mean
        logit."""
        return combined(self.likelihood, self.draw_logits(user, item))


def combined(likelihood: Likelihood, draws: Iterable[Tensor]) -> Tensor:
    """Log predictive probability ``ln 1/S Σ_s p(x⁽ˢ⁾)`` of draws of logits, each ``[G, C]``; where the likelihood knows no
    probability, the mean logit."""

    def said(logits: Tensor) -> Tensor:
        # In double precision: 1e-8 of a probability near 1 tells two items apart.
        return likelihood.probability(logits.double()) if has_probability else logits.double()

    try:
        likelihood.probability(torch.zeros(1))
        has_probability = True
    except NoProbability:
        has_probability = False
    total, number = 0.0, 0
    for logits in draws:
        total, number = total + said(logits), number + 1
    return (total / number).log() if has_probability else total / number


@dataclass(frozen=True)
class MCDropout(Predictive):
    """Dropout that goes on after training. Gal and Ghahramani, "Dropout as a Bayesian Approximation" (2016).

    Each draw is one network: what it drops of a layer's outputs, the last dimension, is dropped for all
    users and candidates.

    Args:
        model: A model fitted with dropout; scores are at their expectation.
        draws: Number of draws ``S``.
        seed: Seed of what is dropped.

    Raises:
        ValueError: Nothing in the model is ever dropped, or ``draws`` is below 1.
        TypeError: ``model`` is none.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8, dropout=0.2)
        >>> MCDropout(model, draws=7).draw_logits(torch.tensor([0]), torch.tensor([[1, 2]])).shape
        torch.Size([7, 1, 2])
    """

    model: Model
    draws: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind(self.model, Model, "a model")
        if not any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.model.modules()):
            raise ValueError("the model has no dropout: build and fit it with dropout above 0")
        check_draws(self.draws, "posterior", self.seed)

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        drawn = []
        # One thread: in whose order would masks be drawn?
        with one_thread():
            random = torch.Generator().manual_seed(torch_seed("dropout", self.seed))
            for _ in range(self.draws):
                with _one_network(self.model, random):
                    drawn.append(self.model.score(user, item))
        return torch.stack(drawn)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """The model's, with nothing dropped."""
        return self.model.score(user, item)


@contextmanager
def _one_network(model: Model, random: torch.Generator) -> Iterator[None]:
    """Every layer of dropout drops the same entries, drawn when it is first used, for all inputs."""
    masks: dict[nn.Module, Tensor] = {}

    def drop(layer: nn.Dropout, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        width = output.shape[-1]
        if layer not in masks:
            kept = torch.rand(width, generator=random) >= layer.p
            masks[layer] = (kept / (1 - layer.p)).to(output)
        if len(masks[layer]) != width:
            raise ValueError(
                f"dropout of {len(masks[layer])} outputs in one place and of {width} in another: the last "
                "dimension of what is dropped must be a layer's outputs"
            )
        return output * masks[layer]

    # Called in evaluation mode, in which dropout itself does nothing.
    hooks = [m.register_forward_hook(drop) for m in model.modules() if isinstance(m, nn.Dropout)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
