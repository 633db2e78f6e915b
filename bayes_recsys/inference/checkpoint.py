"""A fitted model as a folder that loads without running code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import torch

import bayes_recsys.models as models
from bayes_recsys.data.histories import Histories
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.families import FAMILIES
from bayes_recsys.models.base import Model
from bayes_recsys.scores import Scores

FORMAT = 3
# The dataclasses that may be an option of a model.
OPTIONS = {"Scores": Scores, **FAMILIES}


class ModelFolderError(ValueError):
    """A model folder that cannot be loaded; the message names the file and what is wrong."""


def save_model(model: Model, folder: str | Path) -> None:
    """Write weights, options and vocabularies.

    The folder appears complete or not at all: it is written beside and renamed. A model folder
    that exists is replaced; anything else of that name is left alone.

    ==================  =================================================================
    ``weights.pt``      the ``state_dict``
    ``options.json``    class name and constructor options
    ``histories.npz``   vocabularies, histories, audiences, known items: plain arrays
    ==================  =================================================================

    Raises:
        ModelFolderError: The path exists and is not a model folder, or an option of the model
            cannot be written as JSON.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not (folder / "options.json").is_file():
        raise ModelFolderError(f"{folder}: exists and is not a model folder; name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    h = model.histories
    arrays = {
        "user_ids": h.user_ids,
        "item_ids": h.item_ids,
        "entries_offsets": h.entries.offsets.numpy(),
        "entries_values": h.entries.values.numpy(),
        "audience_offsets": h.audience.offsets.numpy(),
        "audience_values": h.audience.values.numpy(),
        "known_offsets": h.known.offsets.numpy(),
        "known_values": h.known.values.numpy(),
    }
    if h.titles is not None:
        arrays["titles"] = h.titles
    options = {name: _encode(name, value) for name, value in model.options.items()}
    about = {"format": FORMAT, "class": type(model).__name__, "options": options}
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        torch.save(model.state_dict(), scratch / "weights.pt")
        (scratch / "options.json").write_text(json.dumps(about, indent=2) + "\n")
        np.savez_compressed(scratch / "histories.npz", **arrays)
        scratch.chmod(0o755)
    except BaseException:
        shutil.rmtree(scratch)
        raise
    if folder.exists():
        old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-old-"))
        os.replace(folder, old)
        os.replace(scratch, folder)
        shutil.rmtree(old)
    else:
        os.replace(scratch, folder)


def load_model(folder: str | Path, model_class: type[Model] | None = None) -> Model:
    """Load what :func:`save_model` wrote. Nothing in the folder is executed.

    Args:
        folder: The model folder.
        model_class: The class of the model, if it is not one of :mod:`bayes_recsys.models`.

    Raises:
        ModelFolderError: A file is missing, empty, truncated or does not fit the others.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelFolderError(f"{folder}: no such model folder")
    about = _read(folder / "options.json", lambda path: json.loads(path.read_text()))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ModelFolderError(f"{folder / 'options.json'}: not a model of format {FORMAT}")
    name = about.get("class")
    if model_class is None:
        if name not in models.__all__:
            raise ModelFolderError(
                f"{folder / 'options.json'}: {name!r} is no model of this package; pass its class "
                "as model_class="
            )
        model_class = getattr(models, name)
    if model_class.__name__ != name:
        raise ModelFolderError(f"{folder}: holds a {name}, not a {model_class.__name__}")
    histories = _read(folder / "histories.npz", _load_histories)
    weights = _read(
        folder / "weights.pt", lambda path: torch.load(path, weights_only=True, map_location="cpu")
    )
    try:
        options = {key: _decode(value) for key, value in about["options"].items()}
        with torch.random.fork_rng():  # initial weights, soon replaced
            model = model_class(histories, **options)
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelFolderError(f"{folder}: its files do not fit together: {error}") from error
    return model.eval()


def _read(path: Path, reader):
    if not path.is_file():
        raise ModelFolderError(f"{path}: the file is missing")
    if path.stat().st_size == 0:
        raise ModelFolderError(f"{path}: the file is empty")
    try:
        return reader(path)
    except Exception as error:  # every format fails in its own ways; all mean the same here
        raise ModelFolderError(
            f"{path}: cannot be read, truncated or damaged ({type(error).__name__}: {error})"
        ) from error


def _load_histories(path: Path) -> Histories:
    # Opened here, because np.load leaves a damaged file open.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        rows = {
            name: Ragged(
                *(torch.from_numpy(file[f"{name}_{part}"]) for part in ("offsets", "values"))
            )
            for name in ("entries", "audience", "known")
        }
        titles = file.get("titles")
        return Histories(file["user_ids"], file["item_ids"], titles, **rows)


def _encode(name: str, value):
    if is_dataclass(value):
        parts = {f.name: _encode(f.name, getattr(value, f.name)) for f in fields(value)}
        return {"class": type(value).__name__, **parts}
    try:
        json.dumps(value)
    except TypeError as error:
        raise ModelFolderError(f"option {name}={value!r} cannot be saved: {error}") from error
    return value


def _decode(value):
    if isinstance(value, dict) and "class" in value:
        return OPTIONS[value["class"]](**{k: _decode(v) for k, v in value.items() if k != "class"})
    return value
