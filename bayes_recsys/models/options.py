"""What a model is built from besides the data: recorded once, checked before there is any."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import nn

from bayes_recsys.data.history import Histories
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.records import RecordError, find_class, from_record, to_record
from bayes_recsys.scores.distribution import RandomFamily
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import Scores


@dataclass(frozen=True)
class Options:
    """A model's class and all options of its constructor, those not given at their defaults.

    Every model has its own, ``model.options``: the base class reads them from the constructor's
    signature, so that a model cannot forget one. Saved models, command lines and tuned settings are
    made of the same object.

    Args:
        model: The class, a :class:`~bayes_recsys.models.base.Model`.
        values: Options by name. Lists become tuples.

    Raises:
        TypeError: The constructor has no such option, or its default is a number, text, a truth value or a
            sequence and what is given is not.

    Example:
        >>> import bayes_recsys as br
        >>> options = Options(br.models.FISM, {"alpha": 0.9})
        >>> options.values
        {'embedding_dim': 32, 'alpha': 0.9}
        >>> Options(br.models.FISM, {"alpha": 1.9}).check()
        Traceback (most recent call last):
        ValueError: alpha must be in [0, 1], not 1.9
    """

    model: type[nn.Module]
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        try:
            bound = inspect.signature(self.model.__init__).bind(None, None, **self.values)
        except TypeError as error:
            raise TypeError(f"{self.model.__name__}: {error}") from None
        bound.apply_defaults()
        _, _, *named = bound.arguments.items()
        for name, value in named:
            _check_kind(self.model, name, _plain(value))
        object.__setattr__(self, "values", {name: _plain(value) for name, value in named})

    @classmethod
    def as_published(cls, model: type[nn.Module], choices: Mapping[str, Any]) -> Options:
        """The options of ``model.as_published(histories, **choices)``.

        Raises:
            TypeError: It takes no such choice.
            ValueError: A choice is out of range.
        """
        with torch.random.fork_rng(devices=[]):
            return model.as_published(_tiny(), **choices).options

    def check(self) -> Options:
        """Refuse options that are out of range or contradict each other, before any data is read, by
        building the model for one user and one item.

        Raises:
            ValueError, TypeError: What the constructor raises.
        """
        with torch.random.fork_rng(devices=[]):
            self.build(_tiny())
        return self

    def build(self, histories: Histories) -> Any:
        """The model, with fresh weights from torch's random state."""
        return self.model(histories, **self.values)

    def record(self) -> dict[str, Any]:
        """For JSON, see :func:`~bayes_recsys.records.to_record`.

        Raises:
            RecordError: JSON cannot hold an option.
        """
        options = {}
        for name, value in self.values.items():
            try:
                options[name] = to_record(value)
            except RecordError as error:
                raise RecordError(f"option {name}={value!r} cannot be saved: {error}") from error
        return {
            "class": self.model.__name__,
            "module": self.model.__module__,
            "options": options,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any], base: type[nn.Module]) -> Options:
        """What :meth:`record` wrote, of a subclass of ``base``; classes of one's own, models and
        families, must be defined by then.

        Raises:
            RecordError: A class is not defined in this program, or has other options.
        """
        made_of = find_class(record["class"], record["module"], base)
        return cls(made_of, from_record(record["options"], Scores, RandomFamily, Point))

    def __str__(self) -> str:
        """The class and what differs from its defaults."""
        defaults = Options(self.model, {}).values
        given = [f"{k}={v!r}" for k, v in self.values.items() if v != defaults[k]]
        return f"{self.model.__name__}({', '.join(given)})"


def _check_kind(model: type[nn.Module], name: str, value: Any) -> None:
    """Refuse text for a number and the like, by the kind of the default."""
    default = inspect.signature(model.__init__).parameters[name].default
    kinds = {
        bool: (bool, "True or False"),
        Integral: (Integral, "a whole number"),
        Real: (Real, "a number"),
        str: (str, "text"),
        Sequence: ((list, tuple), "a sequence like (64, 32)"),
    }
    for kind, (wanted, words) in kinds.items():
        if isinstance(default, kind):
            right = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
            if right and kind is Sequence and isinstance(next(iter(default), None), Integral):
                right = all(isinstance(one, Integral) for one in value)
            if not right:
                raise TypeError(f"{model.__name__}: {name} must be {words}, not {value!r}")
            if kind is Integral and value >= 2**31:
                raise ValueError(f"{model.__name__}: {name} must be below 2**31, not {value!r}")
            if kind is Real and not math.isfinite(value):
                raise ValueError(f"{model.__name__}: {name} must be finite, not {value!r}")
            return


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _tiny() -> Histories:
    one = Ragged.from_pairs(torch.tensor([0]), torch.tensor([0]), 1)
    ids = np.array(["0"])
    features = torch.zeros(1, 1)
    return Histories(
        ids, ids, None, one, one, known=one, user_features=features, item_features=features
    )
