"""Stochastic variational inference with early stopping."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass

import pandas as pd
import pyro
import torch
from lightning_fabric import Fabric
from pyro.infer import ELBO, Trace_ELBO
from tqdm.auto import tqdm

from bayes_recsys.data.batches import TrainingBatches
from bayes_recsys.data.histories import check_split
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.data.split import Split
from bayes_recsys.evaluation.evaluate import evaluate
from bayes_recsys.inference.checks import (
    check_elbo,
    check_monitor,
    check_options,
    check_sites,
    guide_only,
    warn_of_collapse,
)
from bayes_recsys.inference.schedules import Schedule
from bayes_recsys.likelihoods import Bernoulli, Likelihood
from bayes_recsys.models.base import Model

MONITOR = "ndcg@10"


@dataclass(frozen=True)
class Fit:
    """The outcome of :func:`fit`.

    Args:
        model: The model, its weights those of the best epoch.
        history: One row per epoch: ``loss`` (negative objective per training pair), ``ndcg@10``
            on the leave-one-out items, ``seconds`` of training (ranking not included).
        best_epoch: The epoch whose weights were kept; 0 if none was finished.
        stopped: Why training ended: ``"epochs"``, ``"patience"`` or ``"interrupted"``.
    """

    model: Model
    history: pd.DataFrame
    best_epoch: int
    stopped: str


def fit(
    model: Model,
    split: Split,
    likelihood: Likelihood = Bernoulli(),
    *,
    kl_weight: float | Schedule = 1.0,
    kl_reduction: str = "sum",
    negatives_exclude: str = "train",
    elbo: ELBO | None = None,
    max_epochs: int = 100,
    patience: int = 10,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.1,
    pairs: int = 1024,
    seed: int = 0,
    accelerator: str = "cpu",
    progress: bool = True,
) -> Fit:
    """Fit a model and its guide together, and keep the weights that rank best.

    After each epoch the held-out leave-one-out item of every user is ranked among 99 random items
    with expected scores. Training stops when NDCG@10 has not improved for ``patience`` epochs,
    and the best weights are restored. Ctrl-C ends training at once, the best weights so far are
    kept, and the result says so. From the same initial weights the same seed gives the same
    result; the caller's random state is left alone.

    The default objective is the ELBO. With scores of scope ``"interaction"`` it sums some hundred
    divergences against one observation, and the scores fall back to their prior;
    ``kl_weight=0.01, kl_reduction="mean"``, the effective weight of the public implementation,
    avoids that but is **tempered**, no evidence bound.

    Args:
        model: Any :class:`~bayes_recsys.models.base.Model`; trained in place.
        split: The split its histories were made from.
        likelihood: ``Bernoulli(negatives=4)`` or ``BradleyTerry(negatives=1)``.
        kl_weight: Weight of the scores' terms, positive; or a
            :class:`~bayes_recsys.inference.schedules.LinearWarmup` or ``CyclicWarmup``.
        kl_reduction: ``"sum"`` or ``"mean"`` over each pair's valid history.
        negatives_exclude: ``"train"``, or ``"all"`` to reproduce a leak of public code, see
            :func:`~bayes_recsys.data.negatives.negative_sampler`.
        elbo: ``Trace_ELBO()``, the default, or ``TraceMeanField_ELBO()``: divergences in closed form.
        max_epochs: Most passes over the training positives.
        patience: Epochs without improvement before stopping.
        learning_rate: Step size of Adam.
        weight_decay: Decoupled weight decay (AdamW) of the model's embeddings and linear maps. Vectors
            (biases, norms, global queries) and what only the guide uses are not decayed.
        pairs: Most candidates in a batch.
        seed: Seed of negatives, order and latent draws.
        accelerator: ``"cpu"``, ``"cuda"``, ``"auto"``, .. as Lightning Fabric names them.
        progress: Print a line per epoch, and in a terminal a progress bar.

    Warns:
        CollapseWarning: The scores ended as their prior, with what to do about it.

    Raises:
        ValueError: An argument is out of range, the split has no leave-one-out item or is not the
            one of the model's histories, or model and guide do not have the same latent sites.
        FloatingPointError: The loss or the weights are no longer finite; the model has its best weights so far.
    """
    if not isinstance(likelihood, Likelihood):
        raise TypeError(f"likelihood must be like Bernoulli(negatives=4), not {likelihood!r}")
    check_options(model.is_random, kl_weight, kl_reduction, max_epochs, patience, pairs)
    check_monitor(split)
    check_split(model.histories, split)
    batches = TrainingBatches(
        positives=split.items_by_user("train"),
        histories=model.histories,
        sampler=negative_sampler(split, negatives_exclude),
        negatives=likelihood.negatives,
        pairs=pairs,
        seed=seed,
    )
    fabric = Fabric(accelerator=accelerator, devices=1)
    of_guide = guide_only(model, next(batches.epoch(1)))
    decayed = [p for p in model.parameters() if p.ndim > 1 and p not in of_guide]
    others = [p for p in model.parameters() if p.ndim < 2 or p in of_guide]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
    elbo = Trace_ELBO() if elbo is None else elbo
    check_elbo(elbo)
    objective, optimizer = fabric.setup(elbo(model, model.guide), optimizer)

    def terms(now: float) -> tuple[Likelihood, float, str]:
        """What model and guide are called with, ``now`` epochs after the start."""
        weight = kl_weight if isinstance(kl_weight, (int, float)) else kl_weight(now)
        return likelihood, weight, kl_reduction

    rows: list[dict] = []
    best, best_epoch, best_state, stopped = -1.0, 0, None, "epochs"
    with (
        torch.random.fork_rng(),
        warnings.catch_warnings(),
        tqdm(disable=None if progress else True, unit="batch", leave=False) as bar,
    ):
        # Pyro's warning of a NaN loss; here it is an error.
        warnings.filterwarnings("ignore", "Encountered NaN: loss", UserWarning)
        try:
            check_sites(model, fabric.to_device(next(batches.epoch(1))), *terms(0.0))
            torch.manual_seed(seed)
            for epoch in range(1, max_epochs + 1):
                started = time.perf_counter()
                loss = _train_epoch(fabric, objective, optimizer, batches, epoch, terms, bar)
                seconds = time.perf_counter() - started
                ranked = evaluate(
                    model, split, protocol="sampled", part="leave_one_out", ks=(10,), seed=seed
                )
                ndcg = float(ranked.per_user[MONITOR].mean())
                rows.append({"epoch": epoch, "loss": loss, MONITOR: ndcg, "seconds": seconds})
                if progress:
                    tqdm.write(
                        f"epoch {epoch:3d}: loss {loss:.4f}, leave-one-out {MONITOR} {ndcg:.4f}, "
                        f"{seconds:.1f} s"
                    )
                if ndcg > best:
                    best, best_epoch = ndcg, epoch
                    best_state = {k: v.detach().clone() for k, v in model.state_dict().items()}
                if epoch - best_epoch >= patience:
                    stopped = "patience"
                    break
        except KeyboardInterrupt:
            stopped = "interrupted"
        finally:
            if best_state is not None:
                model.load_state_dict(best_state)
            model.cpu().eval()
    warn_of_collapse(model)
    history = pd.DataFrame(rows, columns=["epoch", "loss", MONITOR, "seconds"])
    return Fit(model, history, best_epoch, stopped)


def _train_epoch(fabric, objective, optimizer, batches, epoch, terms, bar) -> float:
    """One pass over the positives; the mean loss per training pair."""
    n_pairs = len(batches.positives.values) * (1 + batches.negatives)
    objective.train()
    losses = []
    for batch in batches.epoch(epoch):
        if not losses:
            bar.reset(total=int(batch.scale))
            bar.set_description(f"epoch {epoch}")
        # Pyro's checks of shapes and supports cost memory passes: the first batch has them.
        with pyro.validation_enabled(epoch == 1 and not losses):
            now = epoch - 1 + len(losses) / batch.scale
            loss = objective(fabric.to_device(batch), *terms(now)) / n_pairs
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"the loss is {losses[-1]} in epoch {epoch}, batch {len(losses)}: lower "
                "learning_rate or raise weight_decay"
            )
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        bar.update()
    if not all(parameter.isfinite().all() for parameter in objective.parameters()):
        raise FloatingPointError(
            f"parameters are no longer finite after epoch {epoch}: lower learning_rate or raise "
            "weight_decay"
        )
    return sum(losses) / len(losses)
