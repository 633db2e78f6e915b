"""One object given for another, refused by name."""

from __future__ import annotations

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
