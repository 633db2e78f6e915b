"""What training makes small."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real

import torch
from pyro.infer import ELBO, ReweightedWakeSleep, Trace_ELBO, TraceTailAdaptive_ELBO
from pyro.poutine.messenger import Messenger

from bayes_recsys.arguments import check_choice, check_number
from bayes_recsys.data.batches import Batch
from bayes_recsys.likelihoods import Bernoulli, Likelihood
from bayes_recsys.models.base import Model

KL_REDUCTIONS = ("sum", "mean")
# Estimators without one loss to watch.
NO_LOSS = (ReweightedWakeSleep, TraceTailAdaptive_ELBO)


@dataclass(frozen=True)
class Objective:
    """The negative ELBO of the data set, its scores' terms weighed, and a penalty:

    ``-E_q[ln p(y | s)] + w Σ KL(q(s) ‖ p(s)) + λ‖Θ‖²``.

    The default is the ELBO. With scores of scope ``"interaction"`` it sums some hundred divergences
    against one observation, and the scores fall back to their prior; ``kl_weight=0.01,
    kl_reduction="mean"``, the effective weight of the public implementation, avoids that but is
    **tempered**, no evidence bound.

    Args:
        likelihood: What is observed, see :class:`~bayes_recsys.likelihoods.Likelihood`.
        kl_weight: ``w``, positive; or a function of time in epochs, such as
            :class:`~bayes_recsys.inference.schedules.LinearWarmup`.
        kl_reduction: ``"sum"`` over the history (the ELBO), or ``"mean"`` over each pair's valid
            history.
        penalty: ``λ``, not negative: on all parameters, those of the guide included, as the papers
            write it. With a penalty the weight decay of
            :class:`~bayes_recsys.inference.options.Training` is 0 unless you ask for both.
        elbo: Pyro's estimator: ``None`` for ``Trace_ELBO()``, ``TraceMeanField_ELBO()`` (divergences in
            closed form), ``TraceGraph_ELBO()``, ``RenyiELBO(..)`` (a tighter bound by several particles, whose
            weights are those of a whole batch), or another that Pyro's ``SVI`` takes; but no JIT variant, which
            finds parameters in Pyro's global store alone, nor ``TraceTailAdaptive_ELBO`` and
            ``ReweightedWakeSleep``, which have no one loss to watch.

    Raises:
        ValueError: A number is out of range or ``kl_reduction`` is unknown.
        TypeError: ``likelihood`` or ``elbo`` is of another kind.

    Example:
        >>> import bayes_recsys as br
        >>> Objective(br.BradleyTerry(negatives=2), kl_weight=0.5).weight(3.0)
        0.5
    """

    likelihood: Likelihood = Bernoulli()
    kl_weight: float | Callable[[float], float] = 1.0
    kl_reduction: str = "sum"
    penalty: float = 0.0
    elbo: ELBO | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.likelihood, Likelihood):
            raise TypeError(
                f"likelihood must be like Bernoulli(negatives=4), not {self.likelihood!r}"
            )
        if self.elbo is not None and not isinstance(self.elbo, ELBO):
            raise TypeError(f"elbo must be one of Pyro's, like Trace_ELBO(), not {self.elbo!r}")
        name = type(self.elbo).__name__
        if name.startswith("Jit") or isinstance(self.elbo, NO_LOSS):
            raise TypeError(f"elbo: {name} does not work here, see Objective; use Trace_ELBO()")
        check_number("penalty", self.penalty, least=0)
        weight = self.kl_weight
        if isinstance(weight, Real) and not (math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"kl_weight must be positive, not {weight}; for no latent scores use Point() in place "
                "of Scores"
            )
        if not isinstance(weight, Real) and (isinstance(weight, type) or not callable(weight)):
            raise TypeError(
                f"kl_weight must be a number, or a function of time like LinearWarmup(1.0, epochs=10), "
                f"not {weight!r}"
            )
        check_choice("kl_reduction", self.kl_reduction, KL_REDUCTIONS)

    def weight(self, now: float) -> float:
        """``w``, ``now`` epochs after the start."""
        return float(self.kl_weight) if isinstance(self.kl_weight, Real) else self.kl_weight(now)

    def loss_and_grads(
        self,
        model: Model,
        batch: Batch,
        now: float = 0.0,
        *,
        per: float = 1.0,
        processes: int = 1,
    ) -> float:
        """An estimate of the objective from one batch, ``per`` so many units (pairs, say); its
        gradients are added to the parameters'.

        The model must have the objective's likelihood, which ``fit`` gives it. Of so many ``processes``, whose
        estimates will be added up, each has its own blocks of the batch, and an equal share of what is of no block.
        """
        if per != 1:
            batch = replace(batch, scale=batch.scale / per)
        per = per * processes
        with Tempered(self.weight(now), self.kl_reduction, per=per):
            loss = (self.elbo or Trace_ELBO()).loss_and_grads(model.model, model.guide, batch)
        if self.penalty:
            trained = [p for p in model.parameters() if p.requires_grad]
            term = self.penalty / per * sum(p.square().sum() for p in trained)
            term.backward()
            loss += term.item()
        return float(loss)


class Tempered(Messenger):
    """Weighs the terms of latent scores in whatever runs inside, a model or a guide.

    ``with Tempered(0.01, "mean"): svi.step(batch)`` tempers plain Pyro.

    Args:
        weight: 1 is the ELBO; less is a tempered objective, no bound.
        reduction: ``"sum"`` over the history, or ``"mean"`` over each pair's valid history.
        per: What sites outside all plates, of which there is one for all data, are divided by.

    Raises:
        ValueError: The weight is not positive, or the reduction is neither.

    Example:
        >>> import bayes_recsys as br
        >>> from bayes_recsys.inference.training_batches import training_batches
        >>> split = br.data.split(br.data.synthetic(n_users=40, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=4)
        >>> batch = next(training_batches(model, split, Objective(), br.Training()).epoch(1))
        >>> losses = []
        >>> for weight in (1.0, 1e-6):
        ...     _ = torch.manual_seed(0)
        ...     with Tempered(weight):
        ...         losses.append(Trace_ELBO().loss(model.model, model.guide, batch))
        >>> losses[1] < losses[0]  # little of the divergence is left
        True
    """

    def __init__(self, weight: float, reduction: str = "sum", *, per: float = 1.0):
        super().__init__()
        if not isinstance(weight, Real) or not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"the weight of the scores' terms must be positive, not {weight!r}")
        if reduction not in KL_REDUCTIONS:
            raise ValueError(f"kl_reduction must be 'sum' or 'mean', not {reduction!r}")
        self.weight, self.reduction, self.per = weight, reduction, per

    def _pyro_sample(self, msg: dict) -> None:
        if not msg["cond_indep_stack"]:
            msg["scale"] = msg["scale"] / self.per
        present = msg["infer"].get("present")
        if present is None or msg["is_observed"]:
            return
        weight = self.weight
        if self.reduction == "mean":
            weight = weight / present.count.clamp(min=1)
        if isinstance(weight, torch.Tensor) or weight != 1:
            msg["scale"] = msg["scale"] * weight
