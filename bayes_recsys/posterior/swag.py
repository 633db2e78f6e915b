"""A posterior over all weights, from where training has been."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from bayes_recsys.arguments import check_kind, check_number
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.draws import check_draws, draw_logits
from bayes_recsys.posterior.predictive import Predictive, combined
from bayes_recsys.streams import torch_seed


class SWAG(Predictive):
    """Draws of all weights from ``Normal(θ̄, c (diag(σ²) + D Dᵀ / (T - 1)) / 2)``: mean, variances and deviations ``D`` of
    the weights after the last ``T`` epochs, along which the loss is about as low; and of the scores, one draw for each.

    Maddox et al., "A Simple Baseline for Bayesian Uncertainty in Deep Learning" (2019), section 3. One training gives what
    an ensemble needs several for, as far as its last epochs differ as several trainings would.

    Args:
        model: A fitted model; what it is stays as it is.
        weights: ``[T, P]``, :class:`~bayes_recsys.inference.snapshots.Snapshots` of its training.
        draws: Number of draws ``S``.
        scale: ``c``, positive: 1 is the covariance along the way.
        seed: Seed of the draws.

    Raises:
        ValueError: ``weights`` are of another model, or an argument is out of range.
        TypeError: ``model`` is none, or ``scale`` no number.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model, seen = br.models.BAMF(br.data.histories(split)), br.inference.Snapshots()
        >>> training = br.Training(max_epochs=4)
        >>> _ = br.fit(model, split, training=training, callbacks=[seen], progress=False)
        >>> swag = SWAG(model, seen.weights, draws=7)
        >>> swag.draw_logits(torch.tensor([0]), torch.tensor([[1, 2]])).shape
        torch.Size([7, 1, 2])
    """

    def __init__(
        self, model: Model, weights: Tensor, *, draws: int = 20, scale: float = 1.0, seed: int = 0
    ):
        check_kind(model, Model, "a model")
        check_draws(draws, "posterior", seed)
        check_number("scale", scale, above=0)
        self.model, self.draws, self.scale, self.seed = model, draws, scale, seed
        size = sum(p.numel() for p in self._trained)
        if not isinstance(weights, Tensor) or weights.ndim != 2 or weights.shape[1] != size:
            shape = getattr(weights, "shape", type(weights).__name__)
            raise ValueError(f"weights must be Snapshots of this model, [T, {size}], not {shape}")
        if len(weights) < 2:
            raise ValueError("weights must be of at least two epochs")
        self.mean = weights.mean(0)
        self.deviations = weights - self.mean
        self.sd = self.deviations.square().mean(0).sqrt()

    @property
    def _trained(self) -> list[torch.nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def weights_drawn(self) -> Iterator[Tensor]:
        """Each draw of all weights, ``[P]``; the same in every call."""
        for number in range(self.draws):
            random = torch.Generator().manual_seed(torch_seed("weights", self.seed, number))
            own = self.sd * torch.randn(len(self.sd), generator=random)
            shared = torch.randn(len(self.deviations), generator=random) @ self.deviations
            shared = shared / (len(self.deviations) - 1) ** 0.5
            yield self.mean + (self.scale / 2) ** 0.5 * (own + shared)

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        check_memory(4.0 * self.draws * item.numel(), f"{self.draws:,} draws of logits", "draws")
        drawn = []
        for number, weights in enumerate(self.weights_drawn()):
            with self._having(weights):
                if self.model.is_random:
                    seed = torch_seed("scores of weights", self.seed, number)
                    drawn.append(draw_logits(self.model, user, item, draws=1, seed=seed)[0])
                else:
                    drawn.append(self.model.score(user, item))
        return torch.stack(drawn)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Log predictive probability ``ln 1/S Σ_s p(x⁽ˢ⁾)``, with scores at their expectation; where the likelihood knows
        none, the mean logit."""
        return combined(self.likelihood, self._expected(user, item))

    def _expected(self, user: Tensor, item: Tensor) -> Iterator[Tensor]:
        for weights in self.weights_drawn():
            with self._having(weights):
                yield self.model.score(user, item)

    @contextmanager
    def _having(self, weights: Tensor) -> Iterator[None]:
        """The model has these weights, and its own again afterwards."""
        own = [p.detach().clone() for p in self._trained]
        try:
            vector_to_parameters(weights.to(self.model.device), self._trained)
            yield
        finally:
            with torch.no_grad():
                for parameter, kept in zip(self._trained, own, strict=True):
                    parameter.data = kept
