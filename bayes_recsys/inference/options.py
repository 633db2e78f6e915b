"""How a model is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_recsys.arguments import check_choice, check_number, check_whole
from bayes_recsys.data.splits import Split
from bayes_recsys.distributed import Group
from bayes_recsys.evaluation.held_out import HeldOutLoss
from bayes_recsys.evaluation.metrics import METRICS
from bayes_recsys.evaluation.protocols import PROTOCOLS
from bayes_recsys.evaluation.ranking import Scorer, rank
from bayes_recsys.inference.objective import Objective
from bayes_recsys.likelihoods import Likelihood
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.draws import draw_logits

WEIGHT_DECAY = 0.1
AVERAGE = 0.9995
# Most candidates in a batch; and most users, where each has the whole catalogue.
PAIRS, USERS = 1024, 64
LOSS = "nll"


@dataclass(frozen=True)
class Monitor:
    """By what training is stopped, and which epoch's weights are kept.

    The default is the order of the validation part in the whole catalogue, every fifth epoch:
    one held-out item of each user among 99 random ones, as the papers have it (:meth:`as_published`), is
    a noisy judge, and stops training while the ranking still improves.

    Args:
        metric: ``"ndcg"``, ``"hr"``, ``"precision"``, ``"recall"``, ``"map"`` or ``"mrr"``, the larger the
            better; or ``"nll"``, the loss on held-out choices
            (:class:`~bayes_recsys.evaluation.held_out.HeldOutLoss`), the smaller the better, to which ``k``,
            ``protocol`` and ``draws`` mean nothing.
        k: Cut-off, at least 1.
        part: ``"validation"`` or ``"leave_one_out"``.
        protocol: ``"full"`` (the whole catalogue) or ``"sampled"`` (99 random items per positive).
        every: Epochs from one measurement to the next, at least 1; epoch ``max_epochs`` is measured whatever it is.
        draws: 0 to rank by logits at expected scores; else by logits averaged over so many draws of the
            scores.

    Raises:
        ValueError: An argument is unknown or out of range, or ``part`` is the test part.

    Example:
        >>> Monitor("recall", k=20, every=1).name
        'recall@20'
    """

    metric: str = "ndcg"
    k: int = 10
    part: str = "validation"
    protocol: str = "full"
    every: int = 5
    draws: int = 0

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, (*METRICS, LOSS))
        check_whole("k", self.k)
        check_whole("every", self.every)
        check_whole("draws", self.draws, least=0)
        if self.part == "test":
            raise ValueError("part='test' would choose the weights by what they are judged by")
        check_choice("part", self.part, ("leave_one_out", "validation"))
        check_choice("protocol", self.protocol, PROTOCOLS)

    @classmethod
    def as_published(cls, *, every: int = 1, draws: int = 0) -> Monitor:
        """The papers': NDCG@10 of each user's leave-one-out item among 99 random ones, every epoch by expected scores.

        BAMF's paper first ranked every five epochs by averaged draws: ``Monitor.as_published(every=5, draws=10)``.
        """
        return cls(part="leave_one_out", protocol="sampled", every=every, draws=draws)

    @property
    def name(self) -> str:
        """Metric and cut-off, ``"ndcg@10"``; or ``"nll"``."""
        return LOSS if self.metric == LOSS else f"{self.metric}@{self.k}"

    def score(self, value: float) -> float:
        """What is to be large."""
        return -value if self.metric == LOSS else value

    def measure(
        self, model: Model | Scorer, split: Split, seed: int, group: Group = Group()
    ) -> float:
        """Mean over users, on the split of the model's histories; each process of the group ranks its share
        of them. Whatever scores can be ranked; draws and the loss are of models alone."""
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
                f"a share of ratio, use users with more interactions, or name {self.part} rows in its file"
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
        weight_decay: Decoupled weight decay of embeddings (FISM's biases are such) and linear maps, not negative. Vectors
            (biases of maps, norms, global queries), a contextual prior and a guide of your own are not decayed. ``None``:
            0.1, or 0 where the objective has a penalty.
        pairs: Most candidates in a batch. ``None``: 1,024; of likelihoods over the whole catalogue, which ask for few
            users at a time else, those of 64 users.
        max_epochs: Most passes over the training positives.
        patience: Epochs without improvement before stopping, looked at when the monitor measures: where it does every
            fifth, 7 are 10.
        average: Decay of an exponential average of the weights over the steps, in ``[0, 1)``, that is measured and
            kept in place of the last ones (:class:`~bayes_recsys.inference.averaging.AveragedWeights`): a cheap
            ensemble along the way. ``None``: 0.9995, some 2,000 steps, or 0, the last weights, with ``sparse``.
        history_dropout: Share of a user's history that is hidden, drawn anew for each block, in ``[0, 1)``: the model must
            tell choices by less than all others. With a likelihood over the whole catalogue only the hidden choices are
            asked for. Scores of what is hidden are not drawn.
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
        ValueError: An argument is out of range, or ``average`` is asked for with ``sparse``.
        TypeError: An argument is of another kind.

    Example:
        >>> Training(learning_rate=1e-3, monitor=Monitor("recall", k=20)).max_epochs
        100
    """

    learning_rate: float = 2e-3
    weight_decay: float | None = None
    pairs: int | None = None
    max_epochs: int = 100
    patience: int = 15
    average: float | None = None
    history_dropout: float = 0.0
    monitor: Monitor = Monitor()
    negatives_exclude: str = "train"
    seed: int = 0
    device: str = "cpu"
    sparse: bool = False
    distributed: bool = False

    def __post_init__(self) -> None:
        for name in ("max_epochs", "patience"):
            check_whole(name, getattr(self, name))
        if self.pairs is not None:
            check_whole("pairs", self.pairs)
        check_number("learning_rate", self.learning_rate, above=0)
        if self.weight_decay is not None:
            check_number("weight_decay", self.weight_decay, least=0)
            if self.weight_decay * self.learning_rate >= 1:
                raise ValueError(
                    f"weight_decay={self.weight_decay} times learning_rate={self.learning_rate} is what a step takes of "
                    "each weight, and must be below 1"
                )
        for name in ("average", "history_dropout"):
            share = getattr(self, name)
            if share is None and name == "average":
                continue
            check_number(name, share, least=0)
            if share >= 1:
                raise ValueError(f"{name} must be below 1, not {share}")
        if self.average and self.sparse:
            raise ValueError(
                "average= takes all rows of all tables in at each step, which sparse=True is to spare"
            )
        if not isinstance(self.monitor, Monitor):
            raise TypeError(f"monitor must be Monitor(..), not {self.monitor!r}")
        check_choice("negatives_exclude", self.negatives_exclude, ("train", "all"))
        check_whole("seed", self.seed, least=0)
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
        monitor: Monitor = Monitor.as_published(),
        negatives_exclude: str = "train",
        seed: int = 0,
        device: str = "cpu",
    ) -> Training:
        """The papers' training: no weight decay and no averaging; the weights of the best epoch are kept, judged by the
        leave-one-out item. What is small is the objective as written; its ``λ‖Θ‖²`` is ``Objective(penalty=λ)``.

        BAMF's paper gives no step size, no λ and no patience; 5 epochs is its public code's. It first ranked every
        five epochs with averaged draws (``monitor=Monitor.as_published(every=5, draws=10)``, with ``patience=25``, which
        counts epochs), later every epoch with expected scores, the default.
        """
        return cls(
            learning_rate=learning_rate,
            weight_decay=0.0,
            average=0.0,
            history_dropout=0.0,
            max_epochs=max_epochs,
            patience=patience,
            monitor=monitor,
            negatives_exclude=negatives_exclude,
            seed=seed,
            device=device,
        )

    def batch_size(self, likelihood: Likelihood, n_items: int) -> int:
        """Most candidates in a batch when this likelihood is trained."""
        if self.pairs is not None:
            return self.pairs
        return PAIRS if likelihood.negatives is not None else USERS * n_items

    @property
    def averaging(self) -> float:
        """The decay of the weights' average that this training has, 0 for none."""
        if self.average is None:
            return 0.0 if self.sparse else AVERAGE
        return self.average

    def decay(self, objective: Objective) -> float:
        """The weight decay that training with this objective has."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.0 if objective.penalty else WEIGHT_DECAY
