"""Similarity of items in closed form, as two tables of vectors."""

from __future__ import annotations

from threading import Lock

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from bayes_recsys.baselines.linear import ease_factors
from bayes_recsys.data.ragged import Ragged
from bayes_recsys.memory import check_memory

# Users are scored side by side: the first that asks makes it, the others wait.
MAKING = Lock()


class ItemKernel:
    """``B_ji = value_j · target_i``, the weights of :class:`~bayes_recsys.baselines.linear.EASE`: off its diagonal
    ``B_ji = -P_ji / P_ii``, which with fewer users than items is ``x_j · (K x_i) / (l2 P_ii)``, ``x_i`` the users of an item.

    Nothing is computed before it is asked for.

    Args:
        audience: Users of every item in the training part, ``N`` rows.
        n_users: ``M``.
        l2: Penalty, positive.

    Example:
        >>> pairs = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 2], [2, 2]])  # user, item
        >>> kernel = ItemKernel(Ragged.from_pairs(pairs[:, 1], pairs[:, 0], 3), n_users=3, l2=1.0)
        >>> value, target = kernel.tables("cpu")
        >>> (value @ target.T).fill_diagonal_(0.0)
        tensor([[ 0.0000,  0.5000, -0.2000],
                [ 0.3750,  0.0000,  0.4000],
                [-0.1250,  0.3333,  0.0000]])
    """

    def __init__(self, audience: Ragged, n_users: int, l2: float):
        self.audience, self.n_users, self.l2 = audience, n_users, l2
        self._made: tuple[Tensor, Tensor] | None = None

    def tables(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """``value`` and ``target``, each ``[N, min(M, N)]``.

        Raises:
            MemoryError: They do not fit.
        """
        with MAKING:
            if self._made is None:
                self._made = self._make()
        if self._made[0].device != torch.device(device):
            self._made = tuple(table.to(device) for table in self._made)
        return self._made

    def _make(self) -> tuple[Tensor, Tensor]:
        users, count = self.audience.values.numpy(), len(self.audience.values)
        of_items = (np.ones(count), users, self.audience.offsets.numpy())
        rows = csr_array(of_items, shape=(len(self.audience), self.n_users)).T.tocsr()
        size = min(rows.shape)
        check_memory(32.0 * len(self.audience) * size, "the kernel", "kernel to 0")
        left, right, diagonal = ease_factors(rows, self.l2)
        if right is rows:
            value, target = rows.T.toarray(), (left @ right / (self.l2 * diagonal)).T
        else:
            value, target = np.eye(size), -right.T / diagonal[:, None]
        return tuple(
            torch.from_numpy(np.ascontiguousarray(table, dtype=np.float32))
            for table in (value, target)
        )
