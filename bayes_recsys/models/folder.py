"""A fitted model as a folder that loads without running code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from bayes_recsys.data.history import Histories
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.likelihoods import Likelihood
from bayes_recsys.models.base import Model
from bayes_recsys.models.options import Options
from bayes_recsys.records import RecordError, from_record, to_record

FORMAT = 4
ROWS = ("history", "audience", "known")
FEATURES = ("user_features", "item_features")


class ModelFolderError(ValueError):
    """A model folder that cannot be loaded; the message names the file and what is wrong."""


def save_model(model: Model, folder: str | Path) -> None:
    """Write weights, options, likelihood and vocabularies.

    The folder appears complete or not at all: it is written beside and renamed. A model folder
    that exists is replaced; anything else of that name is left alone.

    ==================  =================================================================
    ``weights.pt``      the ``state_dict``
    ``options.json``    classes and options of model and likelihood
    ``histories.npz``   vocabularies, histories, audiences, known items, features: plain arrays
    ==================  =================================================================

    Raises:
        ModelFolderError: The path exists and is not a model folder, or an option of the model
            cannot be written as JSON.
    """
    if model.own_guide is not None:
        raise ModelFolderError(
            "a guide of your own is code, which a model folder does not hold; keep "
            "model.state_dict(), and build model and guide anew to load it"
        )
    folder = Path(folder).resolve()
    if folder.exists() and not (folder / "options.json").is_file():
        raise ModelFolderError(f"{folder}: exists and is not a model folder; name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    h = model.histories
    arrays = {"user_ids": h.user_ids, "item_ids": h.item_ids}
    for name in ROWS:
        rows = getattr(h, name)
        arrays[f"{name}_offsets"], arrays[f"{name}_values"] = rows.offsets, rows.values
    optional = {name: getattr(h, name) for name in ("titles", *FEATURES)}
    arrays |= {name: value for name, value in optional.items() if value is not None}
    try:
        about = {
            "format": FORMAT,
            "model": model.options.record(),
            "likelihood": to_record(model.likelihood),
        }
    except RecordError as error:
        raise ModelFolderError(f"{type(model).__name__}: {error}") from error
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


def load_model(folder: str | Path) -> Model:
    """Load what :func:`save_model` wrote. Nothing in the folder is executed or imported.

    Classes of one's own (models, families, likelihoods) are found by name among those defined in the
    running program: import the file that defines them first.

    Args:
        folder: The model folder.

    Raises:
        ModelFolderError: A file is missing, empty, truncated or does not fit the others, or a class is
            not defined in this program.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelFolderError(f"{folder}: no such model folder")
    about = _read(folder / "options.json", lambda path: json.loads(path.read_text()))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ModelFolderError(f"{folder / 'options.json'}: not a model of format {FORMAT}")
    histories = _read(folder / "histories.npz", _load_histories)
    weights = _read(
        folder / "weights.pt", lambda path: torch.load(path, weights_only=True, map_location="cpu")
    )
    try:
        options = Options.of_record(about["model"], Model)
        likelihood = from_record(about["likelihood"], Likelihood)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{folder / 'options.json'}: {error}") from error
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights, soon replaced
            model = options.build(histories)
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelFolderError(f"{folder}: its files do not fit together: {error}") from error
    model.likelihood = likelihood
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
            for name in ROWS
        }
        features = {name: file[name] for name in FEATURES if name in file}
        return Histories(file["user_ids"], file["item_ids"], file.get("titles"), **rows, **features)
