"""Typed options as JSON and back, without running code.

A record of a dataclass names its class. To read it back the class is looked for among those that are
defined in the running program; nothing is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bayes_recsys.storage import write_whole


class RecordError(ValueError):
    """A value that cannot be written as a record, or a record that cannot be read."""


def to_record(value: Any) -> Any:
    """What JSON can hold of numbers, text, ``None``, lists, tables and dataclasses of these.

    Raises:
        RecordError: The value is of another kind.

    Example:
        >>> import bayes_recsys as br
        >>> to_record(br.Gamma(scale=0.5))
        {'class': 'Gamma', 'module': 'bayes_recsys.scores.families', 'scale': 0.5}
    """
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: to_record(getattr(value, f.name)) for f in fields(value)}
        return {"class": type(value).__name__, "module": type(value).__module__, **parts}
    if isinstance(value, Mapping):
        return {str(key): to_record(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_record(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    try:
        json.dumps(value)
    except TypeError as error:
        raise RecordError(f"{value!r} cannot be saved: {error}") from error
    return value


def from_record(record: Any, *bases: type) -> Any:
    """The value behind a record; lists come back as tuples.

    Args:
        record: As :func:`to_record` makes it.
        bases: Classes whose subclasses, and themselves, may be named.

    Raises:
        RecordError: A class is not defined in this program, or does not take what the record gives.

    Example:
        >>> import bayes_recsys as br
        >>> from bayes_recsys.scores import RandomFamily
        >>> from_record(to_record(br.Gamma(scale=0.5)), RandomFamily)
        Gamma(scale=0.5)
    """
    if isinstance(record, list):
        return tuple(from_record(one, *bases) for one in record)
    if not isinstance(record, dict):
        return record
    values = {
        key: from_record(one, *bases)
        for key, one in record.items()
        if "class" not in record or key not in ("class", "module")
    }
    if "class" not in record:
        return values
    made_of = find_class(record["class"], record.get("module"), *bases)
    try:
        return made_of(**values)
    except TypeError as error:
        raise RecordError(f"{record['class']}: {error}") from error


def find_class(name: str, module: str | None, *bases: type) -> type:
    """The class of that name among the bases and their subclasses, wherever these are defined.

    A script's own class is found again by another script that imports it. Of classes of one name
    that of the same module counts, and of these the one defined last.

    Raises:
        RecordError: There is none, or there are several and none is of that module.
    """
    of_name = [one for base in bases for one in _family_tree(base) if one.__name__ == name]
    of_module = [one for one in of_name if one.__module__ == module]
    if of_module:
        return of_module[-1]
    if len(set(of_name)) == 1:
        return of_name[0]
    if of_name:
        modules = ", ".join(sorted({one.__module__ for one in of_name}))
        raise RecordError(f"{name!r} of {module} is defined in {modules}: which one is meant?")
    raise RecordError(
        f"no class {name!r} is defined in this program: first import the file that defines it "
        f"(it was in the module {module!r})"
    )


def _family_tree(base: type) -> Iterator[type]:
    yield base
    for one in base.__subclasses__():
        yield from _family_tree(one)


def write_json(value: Any, path: str | Path) -> None:
    """Write JSON, complete or not at all: beside the file, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        RecordError: The file is missing or is none.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(f"{path}: no such file")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise RecordError(f"{path}: damaged, or no JSON ({error}); delete it") from error
