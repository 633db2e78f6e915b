"""Arguments of a wrong kind, or out of range, refused by name."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection
from numbers import Integral, Real

# What is often given in place of what it holds: a fit for its model, say.
HOLDS = ("model", "interactions", "split")


def check_kind(value: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Refuse another kind of object (``TypeError``), with a hint where it holds one that would do.

    Example:
        >>> class Box:
        ...     model = 3
        >>> check_kind(Box(), int, "a model")
        Traceback (most recent call last):
        TypeError: a model is needed, not Box; give its .model
    """
    if isinstance(value, kind):
        return
    held = [name for name in HOLDS if isinstance(getattr(value, name, None), kind)]
    hint = f"; give its .{held[0]}" if held else ""
    raise TypeError(f"{wanted} is needed, not {type(value).__name__}{hint}")


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no whole number from ``least``, of 64 bits (``ValueError``).

    Example:
        >>> check_whole("draws", 0.5)
        Traceback (most recent call last):
        ValueError: draws must be a whole number of at least 1, not 0.5
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or not least <= value < 2**63:
        raise ValueError(
            f"{name} must be a whole number of at least {least}, not {reprlib.repr(value)}"
        )


def check_number(
    name: str, value: object, *, above: float = -math.inf, least: float = -math.inf
) -> None:
    """Refuse what is no finite number (``TypeError``), or is not above ``above`` or below ``least`` (``ValueError``).

    Example:
        >>> check_number("penalty", -1, least=0)
        Traceback (most recent call last):
        ValueError: penalty must be a finite number of at least 0, not -1
        >>> check_number("penalty", "1", least=0)
        Traceback (most recent call last):
        TypeError: penalty must be a finite number of at least 0, not '1'
    """
    bounds = f" of at least {least}" if least > -math.inf else ""
    bounds = f" above {above}" if above > -math.inf else bounds
    message = f"{name} must be a finite number{bounds}, not {reprlib.repr(value)}"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(message)
    if not (math.isfinite(value) and value > above and value >= least):
        raise ValueError(message)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse what is none of the choices (``ValueError``).

    Example:
        >>> check_choice("source", "past", ("posterior", "prior"))
        Traceback (most recent call last):
        ValueError: source must be 'posterior' or 'prior', not 'past'
    """
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        known = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{name} must be {known}, not {reprlib.repr(value)}")
