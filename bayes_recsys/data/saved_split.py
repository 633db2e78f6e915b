"""A split as a file of ids, for other software, and to score the same cases again."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from bayes_recsys.data.interactions import DataError, DataWarning, Interactions
from bayes_recsys.data.splits import PARTS, Split
from bayes_recsys.storage import write_whole

COLUMNS = ("user", "item", "part")


def save_split(split: Split, path: str | Path) -> None:
    """Write a split as CSV with the columns ``user``, ``item`` and ``part``.

    ``part`` is ``train``, ``validation``, ``test``, or ``leave_one_out`` for the validation row that
    is its user's leave-one-out item: ``leave_one_out`` rows are validation rows. Ids are text as
    in the vocabularies. Rows stand in the order of users, then items. A row that is in no part is
    not written. A file that is there is replaced, whole or not at all.

    Example:
        >>> import bayes_recsys as br
        >>> data = br.data.synthetic(n_users=20, n_items=50, seed=0).interactions
        >>> save_split(br.data.split(data), tmp_path / "split.csv")
        >>> (tmp_path / "split.csv").read_text().splitlines()[:3]
        ['user,item,part', '0,0,train', '0,2,leave_one_out']
        >>> load_split(data, tmp_path / "split.csv")
        Split('synthetic': train 320, validation 40, test 40, leave_one_out 20)
    """
    data, path = split.interactions, Path(path)
    part = np.full(len(data), "", dtype=object)
    for name in (*PARTS, "leave_one_out"):
        part[getattr(split, name)] = name
    rows = np.lexsort((data.item, data.user))
    rows = rows[part[rows] != ""]
    columns = (data.user_ids[data.user[rows]], data.item_ids[data.item[rows]], part[rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    write_whole(path, frame.to_csv(index=False, lineterminator="\n").encode())


def load_split(interactions: Interactions, path: str | Path) -> Split:
    """Read a split that :func:`save_split`, or other software, wrote.

    Rows are found by their ids, whatever their order in the file and in ``interactions``; other
    columns are ignored. Rows of ``interactions`` that the file does not name are in no part, as
    those that :func:`~bayes_recsys.data.splits.timeline` leaves out; their items may be candidates
    of an evaluation, as those of other software that knows the file alone. A file without
    ``leave_one_out`` rows gives a split whose training the papers' monitor cannot stop.

    Args:
        interactions: The data that was split.
        path: The file.

    Raises:
        DataError: The file is missing, empty or malformed, lacks a column, names a pair twice or
            one that ``interactions`` does not hold, an unknown part, two leave-one-out items of a
            user, or a row to validate or test of a user without one to train; the message names
            file and line.

    Warns:
        DataWarning: Some rows of ``interactions`` are in no part.
    """
    path = Path(path)
    frame = _read(path)
    row = _rows_of(frame, interactions)
    part = frame["part"]
    _refuse(row < 0, frame, path, f"is not in the data ({interactions.name})")
    _refuse(frame.duplicated(["user", "item"]), frame, path, "stands twice")
    unknown = ~part.isin((*PARTS, "leave_one_out"))
    _refuse(unknown, frame, path, f"needs a part: {', '.join(PARTS)} or leave_one_out")
    last = part == "leave_one_out"
    again = frame[last].duplicated("user").reindex(frame.index, fill_value=False)
    _refuse(again, frame, path, "is the second leave_one_out item of its user")
    trained = frame.loc[part == "train", "user"]
    _refuse(
        (part != "train") & ~frame["user"].isin(trained),
        frame,
        path,
        "cannot be ranked for, as no row of its user trains; leave it out",
    )
    if len(row) < len(interactions):
        warnings.warn(
            f"{path}: {len(interactions) - len(row)} row(s) of {interactions.name} are not in the "
            "file; they are in no part of the split",
            DataWarning,
            stacklevel=2,
        )
    train, test = (row[(part == name).to_numpy()] for name in ("train", "test"))
    validation, last = (row[p.to_numpy()] for p in (last | (part == "validation"), last))
    return Split(interactions, train, validation, test, last, seed=None)


def _read(path: Path) -> pd.DataFrame:
    """The columns as text, indexed by line number."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    rows = {}
    # -sig: spreadsheets put a byte order mark before the header.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                raise DataError(f"{path}: the file is empty")
            missing = [c for c in COLUMNS if c not in header]
            if missing:
                raise DataError(
                    f"{path}: line 1: no column {missing[0]!r}; the header must name "
                    f"{', '.join(COLUMNS)}"
                )
            places = [header.index(c) for c in COLUMNS]
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise DataError(
                        f"{path}: line {reader.line_num}: expected {len(header)} fields, found "
                        f"{len(fields)}"
                    )
                if fields:
                    rows[reader.line_num] = [fields[place] for place in places]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"{path}: line {reader.line_num}: not a readable table: {error}"
            ) from error
    if not rows:
        raise DataError(f"{path}: the file has a header but no rows")
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))


def _rows_of(frame: pd.DataFrame, interactions: Interactions) -> np.ndarray:
    """The row of ``interactions`` that holds each pair of ids, -1 where none does, shape ``[n]``."""
    user = pd.Index(interactions.user_ids).get_indexer(frame["user"])
    item = pd.Index(interactions.item_ids).get_indexer(frame["item"])
    keys = interactions.user * interactions.n_items + interactions.item
    row = pd.Index(keys).get_indexer(user * interactions.n_items + item)
    return np.where((user >= 0) & (item >= 0), row, -1)


def _refuse(bad, frame: pd.DataFrame, path: Path, why: str) -> None:
    """``DataError`` that names the first bad row."""
    if np.any(bad):
        line = frame.index[np.flatnonzero(bad)[0]]
        user, item, part = frame.loc[line, list(COLUMNS)]
        raise DataError(
            f"{path}: line {line}: user {user!r} and item {item!r}, part {part!r}: the pair {why}"
        )
