"""Where the weights of a training have been."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from bayes_recsys.arguments import check_whole
from bayes_recsys.inference.state import State


class Snapshots:
    """The weights after each of the last epochs, for :class:`~bayes_recsys.posterior.swag.SWAG`; a callback of
    :func:`~bayes_recsys.inference.fitting.fit`.

    Args:
        most: How many are kept, at least 2.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model, seen = br.models.GMF(br.data.histories(split), embedding_dim=4), Snapshots(most=3)
        >>> training = br.Training(max_epochs=5)
        >>> _ = br.fit(model, split, training=training, callbacks=[seen], progress=False)
        >>> seen.weights.shape  # 70 vectors and their match
        torch.Size([3, 284])
    """

    def __init__(self, most: int = 20):
        check_whole("most", most, least=2)
        self._kept: deque[Tensor] = deque(maxlen=most)

    def __call__(self, state: State) -> None:
        if not state.position:
            trained = (p.detach() for p in state.model.parameters() if p.requires_grad)
            self._kept.append(parameters_to_vector(trained).cpu().clone())

    @property
    def weights(self) -> Tensor:
        """``[T, P]``, one row an epoch.

        Raises:
            ValueError: There are fewer than two.
        """
        if len(self._kept) < 2:
            raise ValueError(f"{len(self._kept)} epoch(s) were seen; train for at least two")
        return torch.stack(list(self._kept))
