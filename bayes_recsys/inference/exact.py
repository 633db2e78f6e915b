"""The exact posterior of a user's scores, by NUTS."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide.initialization import init_to_sample

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.data.batches import Batch, TrainingBatches
from bayes_recsys.data.history import check_split
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.data.splits import Split
from bayes_recsys.models.base import Model
from bayes_recsys.nn.modes import evaluating, frozen
from bayes_recsys.posterior.arviz import as_arviz, group_of
from bayes_recsys.streams import seed_torch, torch_seed
from bayes_recsys.threads import one_thread


class DivergenceWarning(UserWarning):
    """NUTS met regions that its steps were too long for."""


def nuts(
    model: Model,
    split: Split,
    users: Iterable[str],
    *,
    draws: int = 500,
    warmup: int = 500,
    chains: int = 2,
    seed: int = 0,
    progress: bool = False,
) -> Any:
    """Draws from the exact posterior of users' scores given their training pairs, the networks held as they
    are: what :func:`~bayes_recsys.posterior.arviz.posterior_tree`'s guide approximates.

    The pairs are a user's training positives, each with negatives of its own, drawn once. Given the networks
    users are independent, and each is sampled alone. Scores of scope ``"interaction"`` belong to the pairs
    themselves: there are as many as pairs times entries, so that only short histories are feasible.

    ``pyro.infer.MCMC(NUTS(model.model)).run(batch)`` samples any batch of your own: the entries that a
    history has are all that moves; padding stays 1.

    Args:
        model: A fitted model with random scores.
        split: The split of its histories.
        users: User ids.
        draws: Draws of each chain, at least 4, after ``warmup`` of its own.
        warmup: Draws in which step size and mass are adapted.
        chains: How many, at least 1; two or more let ArviZ compute R-hat.
        seed: Seed of negatives and draws.
        progress: Show Pyro's progress bar.

    Returns:
        As :func:`~bayes_recsys.posterior.arviz.to_arviz`, for the installed ArviZ; for several users a dictionary
        by user id. Groups ``posterior``, each site ``(chain, draw, user, history)`` with scope ``"user"``, else
        ``(chain, draw, user, pair, entry)``, and ``sample_stats`` with ``diverging``.

    Raises:
        KeyError: A user is unknown.
        ValueError: The model has no random scores or is of another split, or a number is too small.
        TypeError: ``model`` or ``split`` is none.

    Warns:
        DivergenceWarning: Some transitions diverged: raise ``warmup``.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> exact = nuts(model, split, ["3"], draws=10, warmup=10)
        >>> dict(exact.posterior["user_attention"].sizes)
        {'chain': 2, 'draw': 10, 'user': 1, 'history': 9}
    """
    check_kind(model, Model, "a model")
    check_kind(split, Split, "a split (data.split(..))")
    if not model.is_random:
        raise ValueError("every attention of the model is Point(): there are no scores to draw")
    for name, value, least in (("draws", draws, 4), ("warmup", warmup, 1), ("chains", chains, 1)):
        check_whole(name, value, least)
    check_split(model.histories, split)
    trees = {}
    with evaluating(model), frozen(model), torch.random.fork_rng(), one_thread():
        codes = model.histories.user_codes(users).tolist()
        batches = [pairs_of(model, split, user, seed).to(model.device) for user in codes]
        for user, batch in zip(codes, batches, strict=True):
            runs = [
                _chain(model, batch, draws, warmup, (seed, user, chain), progress)
                for chain in range(chains)
            ]
            name = str(model.histories.user_ids[user])
            trees[group_of(name)] = _tree(model, batch, name, runs)
    return as_arviz(trees)


def pairs_of(model: Model, split: Split, user: int, seed: int) -> Batch:
    """All training pairs of one user in one block, each counted once.

    Raises:
        ValueError: The user has none.
    """
    positives = split.items_by_user("train")
    mine = positives.kept(positives.rows == user)
    if not len(mine.values):
        raise ValueError(f"user {str(model.histories.user_ids[user])!r} has no training item")
    batches = TrainingBatches(
        mine,
        model.histories,
        negative_sampler(split),
        model.likelihood.negatives,
        block=len(mine.values),
        seed=torch_seed("negatives of the exact posterior", seed) % 2**32,
    )
    return replace(next(batches.epoch(1)), scale=1.0)


def _chain(
    model: Model,
    batch: Batch,
    draws: int,
    warmup: int,
    keys: tuple[int, ...],
    progress: bool,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scores by site, ``[draws, 1, C or 1, L]``, and which draws diverged, ``[draws]``."""
    seed_torch(torch_seed("NUTS", *keys), model.device)
    kernel = NUTS(model.model, init_strategy=init_to_sample)
    mcmc = MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=not progress)
    mcmc.run(batch)
    diverged = np.zeros(draws, dtype=bool)
    diverged[mcmc.diagnostics()["divergences"]["chain 0"]] = True
    return {name: value.cpu().numpy() for name, value in mcmc.get_samples().items()}, diverged


def _tree(model: Model, batch: Batch, user: str, runs: list[tuple]) -> xr.DataTree:
    diverging = np.stack([diverged for _, diverged in runs])
    if diverging.any():
        warnings.warn(
            f"{int(diverging.sum())} of {diverging.size} transitions for user {user} diverged: the draws are "
            "not of the posterior; raise warmup",
            DivergenceWarning,
            stacklevel=3,
        )
    variables = {}
    for name, site in model.attend(batch).items():
        if not site.attention.is_random:
            continue
        values = np.stack([drawn[name] for drawn, _ in runs])  # [chain, draw, 1, C or 1, L]
        values = np.where(site.mask.cpu().numpy(), values, np.nan)
        if site.attention.of_user:
            variables[name] = (("chain", "draw", "user", "history"), values[:, :, :, 0])
        else:
            variables[name] = (("chain", "draw", "user", "pair", f"{name}_entry"), values)
    coords = {"user": [user]}
    if any("history" in dims for dims, _ in variables.values()):
        coords["history"] = model.histories.item_ids[batch.history[0].cpu().numpy()]
    posterior = xr.Dataset(variables, coords)
    stats = xr.Dataset({"diverging": (("chain", "draw"), diverging)})
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
