"""Similarity of items in closed form, as two tables of vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_recsys.data.ragged import Ragged
from bayes_recsys.memory import check_memory


class ItemKernel:
    """``B_ji = value_j · target_i``, the weights of EASE: the linear item-item model
    ``min ‖X - XB‖² + l2 ‖B‖²`` with ``diag(B) = 0``.

    Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (2019). Off its diagonal ``B_ji = -P_ji / P_ii``,
    ``P = (XᵀX + l2 I)⁻¹``. With fewer users than items ``XP = KX`` is used, ``K = (XXᵀ + l2 I)⁻¹``: then
    ``B_ji = x_j · (K x_i) / (1 - x_iᵀ K x_i)``, ``x_i`` the users of an item.

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
        if self._made is None:
            self._made = self._make()
        if self._made[0].device != torch.device(device):
            self._made = tuple(table.to(device) for table in self._made)
        return self._made

    def _make(self) -> tuple[Tensor, Tensor]:
        n_items, size = len(self.audience), min(self.n_users, len(self.audience))
        check_memory(8.0 * (3 * size**2 + 2 * n_items * self.n_users), "the kernel", "kernel to 0")
        column = torch.zeros(n_items, self.n_users, dtype=torch.double)  # users of each item
        column[self.audience.rows, self.audience.values] = 1.0
        if n_items <= self.n_users:
            inverse = torch.linalg.inv(
                column @ column.T + self.l2 * torch.eye(n_items, dtype=torch.double)
            )
            weights = -inverse / inverse.diagonal()
            return torch.eye(n_items), weights.fill_diagonal_(0.0).T.float().contiguous()
        inverse = torch.linalg.inv(
            column.T @ column + self.l2 * torch.eye(self.n_users, dtype=torch.double)
        )
        target = column @ inverse
        rest = 1 - (column * target).sum(1, keepdim=True)
        return column.float(), (target / rest).float()
