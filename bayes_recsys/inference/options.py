"""How a model is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from bayes_recsys.data.splits import Split
from bayes_recsys.distributed import Group
from bayes_recsys.evaluation.held_out import HeldOutLoss
from bayes_recsys.evaluation.metrics import METRICS
from bayes_recsys.evaluation.protocols import PROTOCOLS, check_part
from bayes_recsys.evaluation.ranking import rank
from bayes_recsys.inference.objective import Objective
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.draws import draw_logits

WEIGHT_DECAY = 0.1
LOSS = "nll"


def _check_whole(**values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")


@dataclass(frozen=True)
class Monitor:
    """By what training is stopped, and which epoch's weights are kept.

    The default is the papers': the held-out leave-one-out item of every user ranked among 99 random
    items.

    Args:
        metric: ``"ndcg"``, ``"hr"``, ``"precision"``, ``"recall"``, ``"map"`` or ``"mrr"``, the larger the
            better; or ``"nll"``, the loss on held-out choices
            (:class:`~bayes_recsys.evaluation.held_out.HeldOutLoss`), the smaller the better, to which ``k``,
            ``protocol`` and ``draws`` mean nothing.
        k: Cut-off, at least 1.
        part: ``"leave_one_out"`` or ``"validation"``.
        protocol: ``"sampled"`` (99 random items per positive) or ``"full"`` (the whole catalogue).
        every: Epochs from one measurement to the next, at least 1.
        draws: 0 to rank by logits at expected scores; else by logits averaged over so many draws of the
            scores.

    Raises:
        ValueError: An argument is unknown or out of range, or ``part`` is the test part.

    Example:
        >>> Monitor("recall", k=20, part="validation", protocol="full").name
        'recall@20'
    """

    metric: str = "ndcg"
    k: int = 10
    part: str = "leave_one_out"
    protocol: str = "sampled"
    every: int = 1
    draws: int = 0

    def __post_init__(self) -> None:
        if self.metric not in (*METRICS, LOSS):
            known = ", ".join((*METRICS, LOSS))
            raise ValueError(f"metric must be one of {known}, not {self.metric!r}")
        _check_whole(k=self.k, every=self.every)
        if not isinstance(self.draws, Integral) or self.draws < 0:
            raise ValueError(f"draws must be a whole number of at least 0, not {self.draws!r}")
        check_part(self.part)
        if self.part == "test":
            raise ValueError("part='test' would choose the weights by what they are judged by")
        if self.protocol not in PROTOCOLS:
            raise ValueError(
                f"protocol must be one of {', '.join(PROTOCOLS)}, not {self.protocol!r}"
            )

    @property
    def name(self) -> str:
        """Metric and cut-off, ``"ndcg@10"``; or ``"nll"``."""
        return LOSS if self.metric == LOSS else f"{self.metric}@{self.k}"

    def score(self, value: float) -> float:
        """What is to be large."""
        return -value if self.metric == LOSS else value

    def measure(self, model: Model, split: Split, seed: int, group: Group = Group()) -> float:
        """Mean over users, on the split of the model's histories; each process of the group ranks its share
        of them."""
        if self.metric == LOSS:
            return HeldOutLoss(split, model.likelihood.negatives, self.part).measure(model, group)
        scorer = AveragedDraws(model, self.draws, seed) if self.draws else model
        ranked = rank(scorer, split, self.protocol, self.part, (self.k,), seed, group=group)
        return float(ranked.per_user[self.name].mean())

    def check(self, split: Split) -> None:
        """Refuse a split without an item to measure by (``ValueError``)."""
        if not len(getattr(split, self.part)):
            raise ValueError(
                f"the split has no {self.part.replace('_', '-')} item to stop early by: give validation "
                "a share of ratio, use users with more interactions, or name leave_one_out rows in its "
                "file"
            )


@dataclass(frozen=True)
class AveragedDraws:
    """A scorer: logits averaged over draws of the scores, as the paper ranked first.

    Args:
        model: Its guide draws.
        draws: How many.
        seed: Their seed.
    """

    model: Model
    draws: int
    seed: int

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """``[G, C]``."""
        return draw_logits(self.model, user, item, draws=self.draws, seed=self.seed).mean(0)


@dataclass(frozen=True)
class Training:
    """How an objective is optimised, by AdamW on batches.

    Args:
        learning_rate: Step size, positive.
        weight_decay: Decoupled weight decay of embeddings and linear maps, not negative. Vectors
            (biases, norms, global queries) and what only the guide uses are not decayed. ``None``: 0.1,
            or 0 where the objective has a penalty.
        pairs: Most candidates in a batch.
        max_epochs: Most passes over the training positives.
        patience: Epochs without improvement before stopping.
        monitor: What an improvement is.
        negatives_exclude: ``"train"``, or ``"all"`` to reproduce a leak of public code, see
            :func:`~bayes_recsys.data.negatives.negative_sampler`.
        seed: Seed of negatives, order and latent draws (not of the initial weights).
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, .. as torch names them.
        sparse: Update of the tables of vectors only the rows that a batch uses
            (:class:`~bayes_recsys.inference.optimizer.RowUpdates`), for tables of millions of rows: a step
            then costs the same however long they are. Rows that are not used are not decayed either, so that
            rare items keep more of what they learned.
        distributed: Train together with the other processes of torch's default group, each on its share
            of every batch's blocks: the sum of their gradients is the batch's.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> Training(learning_rate=1e-3, monitor=Monitor(part="validation")).max_epochs
        100
    """

    learning_rate: float = 2e-3
    weight_decay: float | None = None
    pairs: int = 1024
    max_epochs: int = 100
    patience: int = 10
    monitor: Monitor = Monitor()
    negatives_exclude: str = "train"
    seed: int = 0
    device: str = "cpu"
    sparse: bool = False
    distributed: bool = False

    def __post_init__(self) -> None:
        _check_whole(pairs=self.pairs, max_epochs=self.max_epochs, patience=self.patience)
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not isinstance(value, Real) and not (value is None and name == "weight_decay"):
                raise TypeError(f"{name} must be a number, not {value!r}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        decay = self.weight_decay
        if decay is not None and not (math.isfinite(decay) and decay >= 0):
            raise ValueError(f"weight_decay must not be negative, but is {decay}")
        if not isinstance(self.monitor, Monitor):
            raise TypeError(f"monitor must be Monitor(..), not {self.monitor!r}")
        if self.negatives_exclude not in ("train", "all"):
            raise ValueError(
                f"negatives_exclude must be 'train' or 'all', not {self.negatives_exclude!r}"
            )
        if not isinstance(self.seed, Integral) or self.seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, not {self.seed!r}")
        for name in ("sparse", "distributed"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if not isinstance(self.device, str):
            raise TypeError(f"device must be a name like 'cpu', not {self.device!r}")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].split(". ")[0]  # torch goes on at length
            raise ValueError(
                f"device {self.device!r} is not on this machine ({reason}); use 'cpu'"
            ) from None

    @classmethod
    def as_published(
        cls,
        *,
        learning_rate: float = 2e-3,
        max_epochs: int = 100,
        patience: int = 5,
        monitor: Monitor = Monitor(),
        negatives_exclude: str = "train",
        seed: int = 0,
        device: str = "cpu",
    ) -> Training:
        """The papers' training: no weight decay, what is small being the objective as written (its ``λ‖Θ‖²`` is
        ``Objective(penalty=λ)``, and all else its default), stopped by the leave-one-out item.

        BAMF's paper gives no step size, no λ and no patience; 5 epochs is its public code's. It first ranked every
        five epochs with averaged draws (``monitor=Monitor(every=5, draws=10)``, with ``patience=25``, which counts
        epochs), later every epoch with expected scores, the default.
        """
        return cls(
            learning_rate=learning_rate,
            weight_decay=0.0,
            max_epochs=max_epochs,
            patience=patience,
            monitor=monitor,
            negatives_exclude=negatives_exclude,
            seed=seed,
            device=device,
        )

    def decay(self, objective: Objective) -> float:
        """The weight decay that training with this objective has."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.0 if objective.penalty else WEIGHT_DECAY
