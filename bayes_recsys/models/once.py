"""What a guide attended to, for the model of the same step."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from bayes_recsys.data.batches import Batch
from bayes_recsys.nn.attention import Attended

if TYPE_CHECKING:
    from bayes_recsys.models.base import Model


class Once:
    """What the guide of a step has attended to, for the model of the same step: the same keys, under
    dropout too, and not computed twice.

    It is good once, and for the same batch, weights and mode alone.
    """

    kept_for: ClassVar[tuple] = ()
    steps: ClassVar[int] = 0  # of all optimizers: fused ones give weights no new version

    def kept(self, model: Model, batch: Batch) -> dict[str, Attended]:
        """Attend, and keep it for :meth:`taken`."""
        weights = tuple(model.parameters())
        self.attended, self.kept_for = model.attend(batch), self._state(model, batch, weights)
        self.held = batch, weights  # or their ids could be given away
        return self.attended

    def taken(self, model: Model, batch: Batch) -> dict[str, Attended]:
        """What was kept, and is kept no longer, or else attend."""
        if self.kept_for != self._state(model, batch, tuple(model.parameters())):
            return model.attend(batch)
        attended, self.attended, self.kept_for, self.held = self.attended, None, (), ()
        return attended

    @staticmethod
    def _state(model: Model, batch: Batch, weights: tuple[nn.Parameter, ...]) -> tuple:
        versions = tuple((id(p), p.data_ptr(), p._version) for p in weights)
        return id(batch), versions, Once.steps, model.training, torch.is_grad_enabled()

    def __reduce__(self) -> tuple:
        return Once, ()  # copies start anew


def _note_step(*_) -> None:
    Once.steps += 1


register_optimizer_step_post_hook(_note_step)
