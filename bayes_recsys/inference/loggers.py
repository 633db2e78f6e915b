"""Where the figures of each epoch go: callbacks of :func:`~bayes_recsys.inference.fitting.fit`."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from bayes_recsys.inference.state import State
from bayes_recsys.storage import write_whole


class CSVLog:
    """The rows of ``Fit.history`` as a CSV file, after every epoch, whole each time.

    Args:
        path: The file; one that is there is replaced.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model, log = br.models.GMF(br.data.histories(split)), CSVLog(tmp_path / "epochs.csv")
        >>> training = br.Training(max_epochs=2)
        >>> fit = br.fit(model, split, training=training, callbacks=[log], progress=False)
        >>> pd.read_csv(tmp_path / "epochs.csv")["epoch"].tolist()
        [1, 2]
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __call__(self, state: State) -> None:
        if state.position:
            return
        text = pd.DataFrame(state.rows).to_csv(index=False, lineterminator="\n")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, text.encode())


class TensorBoardLog:
    """The rows of ``Fit.history`` as curves for ``tensorboard --logdir FOLDER``.

    Args:
        folder: Folder of the run.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoardLog needs tensorboard: pip install tensorboard") from None
        self.writer = SummaryWriter(str(folder))

    def __call__(self, state: State) -> None:
        if state.position:
            return
        row = state.rows[-1]
        for name, value in row.items():
            if name != "epoch" and not math.isnan(value):
                self.writer.add_scalar(name, value, int(row["epoch"]))
        self.writer.flush()
