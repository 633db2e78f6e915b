"""What makes the steps of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter

from bayes_recsys.inference.objective import Objective
from bayes_recsys.inference.options import Training
from bayes_recsys.models.base import Model


def make_optimizer(
    model: Model, objective: Objective, training: Training
) -> torch.optim.Optimizer | RowUpdates:
    """AdamW that decays embeddings and linear maps, in a model with random scores those that its deterministic twin has
    too, but not the network of a contextual prior, nor a guide of your own; where tables are sparse, of their rows that a batch uses alone.

    Raises:
        ValueError: Tables are to be sparse, and there is a penalty on all of their rows, or there are none.
    """
    if training.sparse and objective.penalty:
        raise ValueError(
            "sparse=True leaves rows alone that a batch does not use, and penalty= is on all; use "
            "weight_decay in its place"
        )
    tables = tables_of(model)
    for table in tables:
        table.sparse = training.sparse
    named = list(model.named_parameters())
    undecayed = {
        p for name, p in named if name.startswith("own_guide.") or ".prior_network." in name
    }
    of_tables = {table.weight for table in tables} if training.sparse else set()
    rest = [p for p in model.parameters() if p not in of_tables]
    decayed = [p for p in rest if p.ndim > 1 and p not in undecayed]
    others = [p for p in rest if p.ndim < 2 or p in undecayed]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    rate, decay = training.learning_rate, training.decay(objective)
    dense = torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
    if not training.sparse:
        return dense
    rows = [
        (table.weight, 0.0 if table.weight in undecayed else decay)
        for table in tables
        if table.weight.requires_grad
    ]
    if not rows:
        raise ValueError(
            "sparse=True is for tables of vectors (nn.Embedding), and the model trains none"
        )
    return RowUpdates(dense, rows, rate)


def tables_of(model: nn.Module) -> list[nn.Embedding]:
    """All tables of vectors."""
    return [one for one in model.modules() if isinstance(one, nn.Embedding)]


class RowUpdates:
    """An optimizer for all but tables of vectors, and for these lazy AdamW: a row that a batch does not use
    is neither moved nor decayed, and its averages of gradients wait.

    The cost of a step is that of the rows in it, however long the tables are. It is another optimiser than
    AdamW: there a row goes on moving by its momentum, and decays, while nobody sees it.

    Args:
        rest: The optimizer of all other parameters.
        tables: Each table ``[rows, K]`` with its decoupled weight decay.
        rate: Step size of the tables.
    """

    def __init__(
        self, rest: torch.optim.Optimizer, tables: Sequence[tuple[Parameter, float]], rate: float
    ):
        self.rest, self.tables, self.rate = rest, tables, rate
        self.lazy = torch.optim.SparseAdam([table for table, _ in tables], lr=rate)

    @torch.no_grad()
    def step(self) -> None:
        """One step from the gradients."""
        for table, decay in self.tables:
            if table.grad is None:
                continue
            table.grad = _rows_alone(table.grad)
            if decay:
                rows = table.grad.indices()[0]
                table.index_copy_(0, rows, table[rows].mul_(1 - self.rate * decay))
        self.lazy.step()
        self.rest.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.lazy.zero_grad()
        self.rest.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"rest": self.rest.state_dict(), "lazy": self.lazy.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises:
        ValueError: It is the state of an optimizer of another kind.
        """
        if {"rest", "lazy"} - state.keys():
            raise ValueError("that run had dense updates of tables (sparse=False)")
        self.rest.load_state_dict(state["rest"])
        self.lazy.load_state_dict(state["lazy"])


def _rows_alone(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient as rows, each once; of a model that reads a whole table, the rows that are not zero."""
    if gradient.is_sparse:
        return gradient.coalesce()
    rows = gradient.any(1).nonzero()[:, 0]
    return torch.sparse_coo_tensor(
        rows[None], gradient[rows], gradient.shape, check_invariants=False, is_coalesced=True
    )
