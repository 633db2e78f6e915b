"""A training run as lines of text."""

from __future__ import annotations

from tqdm.auto import tqdm

from bayes_recsys.inference.options import Training
from bayes_recsys.inference.state import State


class Progress:
    """A line for each epoch, and in a terminal a bar for its batches; a callback of
    :func:`~bayes_recsys.inference.fitting.fit`, within ``with``.

    Args:
        training: Whose monitor is shown.
        shown: ``False`` shows nothing.
    """

    def __init__(self, training: Training, shown: bool = True):
        self.monitor, self.shown = training.monitor, shown

    def __enter__(self) -> Progress:
        self.bar = tqdm(disable=None if self.shown else True, unit="batch", leave=False)
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def __call__(self, state: State) -> None:
        if state.position == 1:
            self.bar.reset()
            self.bar.set_description(f"epoch {state.epoch + 1}")
        if state.position:
            self.bar.update()
        elif self.shown:
            row, part = state.rows[-1], self.monitor.part.replace("_", "-")
            tqdm.write(
                f"epoch {row['epoch']:3d}: loss {row['loss']:.4f}, {part} {self.monitor.name} "
                f"{row[self.monitor.name]:.4f}, {row['seconds']:.1f} s"
            )
