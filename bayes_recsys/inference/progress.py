"""A training run as lines of text."""

from __future__ import annotations

import math

from tqdm.auto import tqdm

from bayes_recsys.inference.options import Training
from bayes_recsys.inference.state import State


class Progress:
    """A line for each epoch, and in a terminal a bar for its batches; a callback of
    :func:`~bayes_recsys.inference.fitting.fit`, within ``with``.

    Args:
        training: Whose monitor, epochs and patience are shown.
        shown: ``False`` shows nothing.
    """

    def __init__(self, training: Training, shown: bool = True):
        self.training, self.shown = training, shown

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
            tqdm.write(self._line(state))

    def _line(self, state: State) -> str:
        row, training = state.rows[-1], self.training
        epoch, name = row["epoch"], training.monitor.name
        parts = [f"epoch {epoch:3d}/{training.max_epochs}  loss {row['loss']:.4f}"]
        if not math.isnan(row["held_out_nll"]) and name != "nll":
            parts.append(f"held-out nll {row['held_out_nll']:.4f}")
        if not math.isnan(row[name]):
            best = " (best)" if state.best_epoch == epoch else ""
            parts.append(f"{name} {row[name]:.4f}{best}")
        parts.append(f"{row['seconds']:.1f} s + {row['measuring']:.1f} s measuring")
        most = training.max_epochs - epoch
        least = min(training.patience - (epoch - state.best_epoch), most)
        if 0 < least < training.patience and not math.isnan(row[name]):
            parts.append(f"ends in {least}")
        if most:
            each = sum(one["seconds"] + one["measuring"] for one in state.rows) / epoch
            parts.append(f"at most {_duration(most * each)} to go")
        return "  ".join(parts)


def _duration(seconds: float) -> str:
    """``"40 s"``, ``"7 min"``, ``"3 h 20 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
