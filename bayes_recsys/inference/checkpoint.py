"""A training run as a file, to go on from after whatever ended it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bayes_recsys.arguments import check_whole
from bayes_recsys.data.splits import Split
from bayes_recsys.inference.description import described
from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.inference.state import State
from bayes_recsys.models.base import Model
from bayes_recsys.storage import write_whole

FORMAT = "bayes_recsys checkpoint 1"
# What may differ when a run goes on: how long, and where.
FREE = ("max_epochs", "patience", "device")


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from; the message names the file and what is wrong."""


class Checkpoint:
    """Where :func:`~bayes_recsys.inference.fitting.fit` keeps a run, and goes on from if it is there.

    The file is written every so many batches, after every epoch, when Ctrl-C or SIGTERM ends the run, and at its
    end, each time whole (the old one stays until the new one is on the disk). A run that goes on is to the bit the
    one that was never ended. The same model, data, objective and training are asked for; only ``max_epochs``,
    ``patience`` and ``device`` may be others (with more epochs, the last one of the shorter run was measured, and
    may be the one that is kept).

    Args:
        path: The file.
        every: Batches from one writing to the next; what a killed process loses at most. At least 1.

    Raises:
        ValueError: ``every`` is no whole number of at least 1.
        TypeError: ``path`` is none.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> def run(epochs):
        ...     model = br.models.GMF(br.data.histories(split))
        ...     keep = Checkpoint(tmp_path / "run.pt")
        ...     training = br.Training(max_epochs=epochs)
        ...     return br.fit(model, split, training=training, checkpoint=keep, progress=False)
        >>> len(run(2).history), len(run(5).history)  # the second does three more
        (2, 5)
    """

    def __init__(self, path: str | Path, *, every: int = 100):
        if not isinstance(path, str | Path):
            raise TypeError(f"path must be that of a file, not {path!r}")
        check_whole("every", every)
        self.path, self.every = Path(path), every
        self.about: dict[str, str] = {}

    def describe(
        self, model: Model, split: Split, objective: Objective, training: Training
    ) -> None:
        """Note what the run is of."""
        self.about = described(model, split, objective, training, free=FREE)

    def load(self) -> Mapping[str, Any] | None:
        """The state of a :class:`~bayes_recsys.inference.state.State`; nothing if there is no file.

        Raises:
            CheckpointError: The file is damaged, or of another run.
        """
        if not self.path.exists():
            return None
        try:
            kept = torch.load(
                io.BytesIO(self.path.read_bytes()), map_location="cpu", weights_only=True
            )
            right = kept["format"] == FORMAT
            about, state = kept["about"], kept["state"]
        except pickle.UnpicklingError:
            raise CheckpointError(
                f"{self.path}: no checkpoint: it holds more than tensors, numbers and text, which might run code"
            ) from None
        except Exception as error:  # a damaged file fails in its own ways; all mean the same here
            raise CheckpointError(
                f"{self.path}: no checkpoint, or damaged ({type(error).__name__}); delete it to start anew"
            ) from None
        if not right:
            raise CheckpointError(f"{self.path}: not a {FORMAT}")
        names = dict.fromkeys((*self.about, *about))
        other = [name for name in names if about.get(name) != self.about.get(name)]
        if other:
            said = "; ".join(
                f"{name}: there {about.get(name)}, here {self.about.get(name)}"
                for name in other[:3]
            )
            raise CheckpointError(
                f"{self.path} is of another run ({said}): name another file, or delete it to start anew"
            )
        return state

    def __call__(self, state: State) -> None:
        """Write it if it is time to; a callback of ``fit``."""
        if state.position % self.every == 0:
            self.write(state)

    def write(self, state: State) -> None:
        """Write it.

        Raises:
            OSError: The disk is full, say; the file before is as it was.
        """
        file = io.BytesIO()
        torch.save({"format": FORMAT, "about": self.about, "state": state.state_dict()}, file)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, file.getvalue())
