"""The exact posterior of many users' scores, by Hamiltonian Monte Carlo for all of them side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.bars import bar
from bayes_recsys.data.batches import Batch, TrainingBatches
from bayes_recsys.data.history import check_split
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.data.splits import Split
from bayes_recsys.inference.training_batches import differs_by_target
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.nn.modes import evaluating, frozen
from bayes_recsys.posterior.exact_scores import ExactScores
from bayes_recsys.streams import seed_torch, torch_seed

# Steps are as long as accepts this share of proposals, and trajectories about a quarter turn of a standard normal.
ACCEPTED, TURN, MOST_STEPS = 0.8, math.pi / 2, 24
# Most candidates of users that move side by side.
PAIRS = 20_000


def hmc(
    model: Model,
    split: Split,
    users: Iterable[str] | None = None,
    *,
    draws: int = 50,
    warmup: int = 50,
    chains: int = 2,
    seed: int = 0,
    progress: bool = True,
) -> ExactScores:
    """Draws from the exact posterior of users' scores given their training pairs, the networks held as they are.

    The pairs are a user's training positives, each with negatives of its own, drawn once. Given the networks, users are
    independent of each other: each has step size, proposals and acceptance of its own, in units of the prior's standard
    deviation of ``ln s``, while gradients are computed for many at once (Neal, "MCMC Using Hamiltonian Dynamics", 2011).
    :func:`~bayes_recsys.inference.exact.nuts` samples a user at a time, scores of any scope, by Pyro's own sampler.

    Args:
        model: A fitted model with one site of random scores of scope ``"user"``.
        split: The split of its histories.
        users: User ids; ``None`` for all who have a training item.
        draws: Draws of each chain, at least 4, after ``warmup`` of its own.
        warmup: Draws in which step sizes are adapted.
        chains: How many, at least 2, so that R-hat says whether they agree.
        seed: Seed of negatives and draws.
        progress: Show a bar.

    Returns:
        The draws, by which ``evaluate`` ranks, ``predictive_nll`` judges and whose ``summary()`` says what the data told.

    Raises:
        KeyError: A user is unknown.
        ValueError: The model has no such site, or is of another split, a user has no training item, or a number is
            too small.
        TypeError: ``model`` or ``split`` is none.
        FloatingPointError: The density is not finite where a chain starts.
        MemoryError: The draws do not fit.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> exact = hmc(model, split, ["3", "7"], draws=10, warmup=10, progress=False)
        >>> exact.summary().index.tolist()
        ['3', '7']
        >>> exact.draw_logits(torch.tensor([3]), torch.tensor([[1, 2]])).shape
        torch.Size([20, 1, 2])
    """
    check_kind(model, Model, "a model")
    check_kind(split, Split, "a split (data.split(..))")
    for name, value, least in (("draws", draws, 4), ("warmup", warmup, 1), ("chains", chains, 2)):
        check_whole(name, value, least)
    check_split(model.histories, split)
    positives = split.items_by_user("train")
    if users is None:
        codes = positives.lengths.nonzero()[:, 0]
    else:
        codes = model.histories.user_codes(users).unique()
        without = codes[positives.lengths[codes] == 0]
        if len(without):
            name = model.histories.user_ids[int(without[0])]
            raise ValueError(f"user {str(name)!r} has no training item")
    batches = TrainingBatches(
        positives.kept(torch.isin(positives.rows, codes)),
        model.histories,
        negative_sampler(split),
        model.likelihood.negatives,
        block=max(1, int(positives.lengths.max())),
        pairs=PAIRS,
        seed=torch_seed("negatives of the exact posterior", seed) % 2**32,
    )
    entries = int(model.histories.history.lengths[codes].sum())
    check_memory(
        4.0 * chains * draws * entries + chains * batches.least_memory(differs_by_target(model)),
        f"{chains * draws:,} draws of {entries:,} scores",
        "draws, chains or users",
    )
    of_user: dict[int, Tensor] = {}
    with bar("user", "draw exact scores", len(codes), shown=progress) as shown:
        for number, batch in enumerate(batches.epoch(1)):
            batch = replace(batch.to(model.device), scale=1.0)
            sampled = sample_scores(
                model, batch, draws=draws, warmup=warmup, chains=chains, seed=(seed, number)
            )
            for row, user in enumerate(batch.user.tolist()):
                of_user[user] = sampled[..., row, : int(batch.history_mask[row].sum())].cpu()
            shown.update(len(batch.user))
    return ExactScores(model, {user: of_user[user] for user in sorted(of_user)})


def sample_scores(
    model: Model,
    batch: Batch,
    *,
    draws: int,
    warmup: int,
    chains: int = 2,
    seed: tuple[int, ...] = (0,),
) -> Tensor:
    """Draws of the scores given what a batch observes, whole users as its blocks.

    Args:
        model: With one site of scope ``"user"``.
        batch: With labels; ``scale`` 1.
        draws: Of each chain.
        warmup: Before them.
        chains: How many.
        seed: Of the draws.

    Returns:
        ``s``, ``[chains, draws, G, L]``; 1 where there is no entry.

    Raises:
        ValueError: The model has no such site, or others besides.
    """
    with evaluating(model), frozen(model), torch.random.fork_rng():
        seed_torch(torch_seed("HMC", *seed), model.device)
        target = _Target.of(model, batch)
        state = target.start(chains)
        if not state.density.isfinite().all():  # from where no chain would ever move
            raise FloatingPointError("the density of scores that the prior draws is not finite")
        step = torch.full(state.place.shape[:2], 0.3, device=state.place.device)
        of_warmup, kept = [], []
        for number in range(warmup + draws):
            state, accepted = _move(target, state, step)
            if number < warmup:
                rate = (number + 1) ** -0.6
                step = (step.log() + rate * (accepted - ACCEPTED)).exp().clamp(1e-4, 2.0)
                of_warmup.append(step.log())
                if number == warmup - 1:
                    step = torch.stack(of_warmup[warmup // 2 :]).mean(0).exp()
            else:
                kept.append(target.scores(state.place)[:, :, 0])
        return torch.stack(kept, dim=1)


@dataclass(frozen=True)
class _State:
    """Where chains are: places ``[S, G, 1, L]``, log density ``[S, G]``, its gradient."""

    place: Tensor
    density: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class _Target:
    """The density of ``ln s`` in units of the prior: ``ln s = mean + sd · place``."""

    model: Model
    batch: Batch
    name: str
    mean: Tensor
    sd: Tensor
    there: Tensor

    @classmethod
    def of(cls, model: Model, batch: Batch) -> _Target:
        sites = {n: site for n, site in model.attend(batch).items() if site.attention.is_random}
        if len(sites) != 1 or not next(iter(sites.values())).attention.of_user:
            raise ValueError(
                "hmc samples models with one site of random scores, of scope 'user'; for others see nuts"
            )
        ((name, site),) = sites.items()
        prior, shape = site.prior(), site.present.shape
        mean, sd = prior.expected_log.expand(shape), prior.variance_log.sqrt().expand(shape)
        return cls(model, batch, name, mean.detach(), sd.detach(), site.mask.float())

    def start(self, chains: int) -> _State:
        """Draws of the prior."""
        return self.at(torch.randn(chains, *self.mean.shape, device=self.mean.device) * self.there)

    def scores(self, place: Tensor) -> Tensor:
        """``s``, 1 where there is no entry."""
        return ((self.mean + self.sd * place) * self.there).exp()

    def at(self, place: Tensor) -> _State:
        place = place.detach().requires_grad_()
        with torch.enable_grad(), pyro.validation_enabled(False):
            given = {self.name: self.scores(place)}
            trace = poutine.trace(poutine.condition(self.model.model, given)).get_trace(self.batch)
            trace.compute_log_prob()
            terms = [
                node["log_prob"].expand(*place.shape[:2], -1).sum(-1)
                for node in trace.nodes.values()
                if node["type"] == "sample" and "log_prob" in node and node["log_prob"].ndim > 1
            ]
            # Of ln s, not of s.
            of_scale = ((self.mean + self.sd * place) * self.there).sum((-2, -1))
            density = torch.stack(terms).sum(0) + of_scale
            (gradient,) = torch.autograd.grad(density.sum(), place)
        return _State(place.detach(), density.detach(), gradient * self.there)


def _move(target: _Target, state: _State, step: Tensor) -> tuple[_State, Tensor]:
    """A trajectory of every chain and user, accepted or not; and with what probability, ``[S, G]``."""
    length = TURN * (0.5 + torch.rand(()).item())
    steps = max(1, min(MOST_STEPS, round(length / step.quantile(0.25).item())))
    # Of random length, so that no chain stays where its step is just too long.
    by = (step * (0.5 + 0.7 * torch.rand_like(step)))[..., None, None]
    momentum = torch.randn_like(state.place) * target.there
    before = state.density - momentum.square().sum((-2, -1)) / 2
    end = state
    for _ in range(steps):
        momentum = momentum + by / 2 * end.gradient
        end = target.at(end.place + by * momentum)
        momentum = momentum + by / 2 * end.gradient
    after = end.density - momentum.square().sum((-2, -1)) / 2
    chance = (after - before).nan_to_num(-torch.inf).clamp(max=0).exp()
    taken = torch.rand_like(chance) < chance
    wide = taken[..., None, None]
    return _State(
        end.place.where(wide, state.place),
        end.density.where(taken, state.density),
        end.gradient.where(wide, state.gradient),
    ), chance
