"""A training run in words, by which it is known again."""

from __future__ import annotations

import hashlib
from dataclasses import is_dataclass
from functools import partial
from numbers import Real
from typing import Any

from pyro.infer import Trace_ELBO

from bayes_recsys.data.splits import Split
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.models.base import Model
from bayes_recsys.records import to_record


def described(
    model: Model, split: Split, objective: Objective, training: Training, free: tuple[str, ...] = ()
) -> dict[str, str]:
    """What a run is of, by name; the same words in every process that does the same.

    Args:
        model: What is trained.
        split: On what.
        objective: To what end.
        training: How.
        free: Options of the training that are left out.
    """
    elbo = estimator(objective)
    elbo.pop("max_plate_nesting", None)  # which Pyro finds, and notes, as it goes
    options = {f"model option {k}": str(v) for k, v in model.options.values.items()}
    return {
        "data": str(split.interactions),
        "split": _digest(split),
        "history": hashlib.sha256(model.histories.history.values.numpy().tobytes()).hexdigest(),
        "model": type(model).__name__,
        **options,
        "likelihood": str(objective.likelihood),
        "kl_weight": _named(objective.kl_weight),
        "kl_reduction": objective.kl_reduction,
        "penalty": str(objective.penalty),
        "elbo": str(elbo),
        **{k: str(v) for k, v in to_record(training).items() if k not in free},
    }


def estimator(objective: Objective) -> dict[str, Any]:
    """Pyro's estimator by its name and its numbers.

    Example:
        >>> estimator(Objective())["class"]
        'Trace_ELBO'
    """
    elbo = Trace_ELBO() if objective.elbo is None else objective.elbo
    numbers = {name: value for name, value in vars(elbo).items() if isinstance(value, Real)}
    return {"class": type(elbo).__name__, **numbers}


def _named(weight: Any) -> str:
    """A number or a function of time, without the address where it is."""
    if isinstance(weight, Real) or is_dataclass(weight):
        return str(weight)
    if isinstance(weight, partial):
        return f"{_named(weight.func)} of {weight.args} {weight.keywords}"
    return getattr(weight, "__qualname__", type(weight).__qualname__)


def _digest(split: Split) -> str:
    """Of who has what in which part."""
    digest = hashlib.sha256()
    for part in ("train", "validation", "leave_one_out"):
        rows = split.items_by_user(part)
        for tensor in (rows.offsets, rows.values):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
