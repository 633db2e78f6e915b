"""A fitted model as a folder that loads without running code."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bayes_recsys.arguments import check_kind
from bayes_recsys.data.history import Histories
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.likelihoods import Likelihood
from bayes_recsys.models.base import Model
from bayes_recsys.models.options import Options
from bayes_recsys.records import RecordError, from_record, to_record
from bayes_recsys.storage import alone_in, write_whole

KIND = "bayes_recsys model "
FORMAT = f"{KIND}5"
MANIFEST = "manifest.json"
# What this module writes into a folder, and deletes there.
OURS = re.compile(
    r"\.?(weights|options|histories)-[0-9a-f]{12}\.(pt|json|npz)(-\d+)?|\.manifest\.json-\d+"
)
RETRIES = 20
ROWS = ("history", "audience", "known")
FEATURES = ("user_features", "item_features")


class ModelFolderError(ValueError):
    """A model folder that cannot be loaded; the message names the file and what is wrong."""


def save_model(model: Model, folder: str | Path) -> None:
    """Write weights, options, likelihood and vocabularies.

    ====================  =================================================================
    ``weights-*.pt``      the ``state_dict``
    ``options-*.json``    classes and options of model and likelihood
    ``histories-*.npz``   vocabularies, histories, audiences, known items, features: plain arrays
    ``manifest.json``     which of these files are the model, with their checksums
    ====================  =================================================================

    Files are named by their content and the manifest is written last, in one rename: at every instant, a killed
    process or a full disk included, the folder is the old model or the new one. Of a folder that is there only
    files of these names are ever replaced or deleted; what an interrupted call has left is deleted by the next.

    Raises:
        ModelFolderError: The path exists and is neither empty nor a model folder, an option of the model
            cannot be written as JSON, or the model has a guide of your own.
        OSError: The disk is full, say; a model that was there is as it was.
    """
    check_kind(model, Model, "a model")
    if model.own_guide is not None:
        raise ModelFolderError(
            "a guide of your own is code, which a model folder does not hold; keep "
            "model.state_dict(), and build model and guide anew to load it"
        )
    folder = Path(folder).resolve()
    check_target(folder)
    contents = {
        "weights.pt": _written(lambda file: torch.save(model.state_dict(), file)),
        "options.json": (json.dumps(_about(model), indent=2) + "\n").encode(),
        "histories.npz": _written(lambda file: np.savez_compressed(file, **_arrays(model))),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        files = {}
        for name, content in contents.items():
            digest = hashlib.sha256(content).hexdigest()
            path = folder / f"{Path(name).stem}-{digest[:12]}{Path(name).suffix}"
            if not path.exists() or path.read_bytes() != content:
                write_whole(path, content)
            files[name] = {"file": path.name, "sha256": digest}
        manifest = {"format": FORMAT, "files": files}
        write_whole(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        _clean(folder, {one["file"] for one in files.values()})


def check_target(folder: Path) -> None:
    """Refuse to write a model where something else is (``ModelFolderError``)."""
    if folder.exists() and not _is_ours(folder):
        raise ModelFolderError(f"{folder}: exists and is not a model folder; name another")


def _is_ours(folder: Path) -> bool:
    """Whether a model may be written there: one is, or nothing but what an interrupted call left."""
    if not folder.is_dir():
        return False
    if (folder / MANIFEST).is_file():
        return _manifest(folder) is not None
    return all(OURS.fullmatch(path.name) for path in folder.iterdir())


def _manifest(folder: Path) -> dict | None:
    """That of a model folder of any format, or nothing."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    known = isinstance(manifest, dict) and str(manifest.get("format")).startswith(KIND)
    return manifest if known else None


def _clean(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.name not in kept and path.is_file():
            path.unlink(missing_ok=True)


def _about(model: Model) -> dict:
    try:
        return {"model": model.options.record(), "likelihood": to_record(model.likelihood)}
    except RecordError as error:
        raise ModelFolderError(f"{type(model).__name__}: {error}") from error


def _arrays(model: Model) -> dict[str, np.ndarray]:
    h = model.histories
    arrays = {"user_ids": h.user_ids, "item_ids": h.item_ids}
    for name in ROWS:
        rows = getattr(h, name)
        arrays[f"{name}_offsets"], arrays[f"{name}_values"] = rows.offsets, rows.values
    optional = {name: getattr(h, name) for name in ("titles", *FEATURES)}
    arrays |= {name: value for name, value in optional.items() if value is not None}
    for name in ("user_ids", "item_ids", "titles"):
        if name in arrays:  # of Python's objects NumPy would write code
            arrays[name] = np.asarray(arrays[name]).astype(str)
    return arrays


def _written(write: Callable[[io.BytesIO], None]) -> bytes:
    """What a library writes, in memory first: a full disk is then met in one place."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def load_model(folder: str | Path) -> Model:
    """Load what :func:`save_model` wrote. Nothing in the folder is executed or imported.

    Classes of one's own (models, families, likelihoods) are found by name among those defined in the
    running program: import the file that defines them first.

    Args:
        folder: The model folder.

    Raises:
        ModelFolderError: A file is missing, is not what was written, or does not fit the others, or a class is
            not defined in this program.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelFolderError(f"{folder}: no such model folder")
    for _ in range(RETRIES):
        contents = _contents(folder)
        if contents is not None:
            break
    else:
        raise ModelFolderError(f"{folder}: replaced again and again while it is read")
    about = _read(folder, "options.json", contents, lambda file: json.loads(file.read()))
    histories = _read(folder, "histories.npz", contents, _load_histories)
    weights = _read(
        folder,
        "weights.pt",
        contents,
        lambda file: torch.load(file, weights_only=True, map_location="cpu"),
    )
    try:
        options = Options.of_record(about["model"], Model)
        likelihood = from_record(about["likelihood"], Likelihood)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{folder}: options.json: {error}") from error
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights, soon replaced
            model = options.build(histories)
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelFolderError(f"{folder}: its files do not fit together: {error}") from error
    model.likelihood = likelihood
    return model.eval()


def _contents(folder: Path) -> dict[str, bytes] | None:
    """The files that the manifest names, each as it was written; nothing if they have been replaced
    meanwhile."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelFolderError(f"{path}: the file is missing: no model was ever completed here")
    manifest = _manifest(folder)
    if manifest is None or manifest["format"] != FORMAT:
        raise ModelFolderError(f"{path}: not of a {FORMAT}")
    contents = {}
    for name in ("weights.pt", "options.json", "histories.npz"):
        try:
            entry = manifest["files"][name]
            file, digest = folder / entry["file"], entry["sha256"]
        except (KeyError, TypeError):
            raise ModelFolderError(f"{path}: damaged: it names no {name}") from None
        if file.parent != folder:
            raise ModelFolderError(f"{path}: damaged: {entry['file']} is not in the folder")
        if not file.is_file():
            if _manifest(folder) != manifest:
                return None
            raise ModelFolderError(f"{file}: the file is missing")
        try:
            contents[name] = file.read_bytes()
        except FileNotFoundError:  # saved anew since
            return None
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise ModelFolderError(
                f"{file}: damaged: it is not what was written ({name} by its checksum)"
            )
    return contents


def _read(folder: Path, name: str, contents: dict[str, bytes], reader: Callable) -> Any:
    try:
        return reader(io.BytesIO(contents[name]))
    except pickle.UnpicklingError:
        raise ModelFolderError(
            f"{folder}: {name}: cannot be read: it holds more than tensors, which might run code"
        ) from None
    except Exception as error:  # every format fails in its own ways; all mean the same here
        raise ModelFolderError(
            f"{folder}: {name}: cannot be read ({type(error).__name__}: {error})"
        ) from error


def _load_histories(stream: io.BytesIO) -> Histories:
    with np.load(stream, allow_pickle=False) as file:
        n_users, n_items = len(file["user_ids"]), len(file["item_ids"])
        sizes = {"history": (n_users, n_items), "audience": (n_items, n_users)}
        sizes["known"] = sizes["history"]
        rows = {
            name: Ragged(
                *(torch.from_numpy(file[f"{name}_{part}"]) for part in ("offsets", "values"))
            )
            for name in ROWS
        }
        for name, of_rows in rows.items():
            of_rows.check(*sizes[name])
        features = {name: file[name] for name in FEATURES if name in file}
        return Histories(file["user_ids"], file["item_ids"], file.get("titles"), **rows, **features)
