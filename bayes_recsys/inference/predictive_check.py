"""What a model would see: scores and labels drawn by Pyro, padding hidden."""

from __future__ import annotations

from dataclasses import replace

import pyro
import torch
from pyro.infer import Predictive
from torch import Tensor

from bayes_recsys.data.batches import Batch
from bayes_recsys.models.base import Model
from bayes_recsys.nn.modes import evaluating
from bayes_recsys.posterior.draws import check_draws
from bayes_recsys.streams import seed_torch, torch_seed


def predictive(
    model: Model, batch: Batch, *, draws: int = 100, source: str = "posterior", seed: int = 0
) -> dict[str, Tensor]:
    """``pyro.infer.Predictive`` for a batch: scores of random sites and, whether the batch has labels or not,
    what the likelihood would observe.

    Compare it with ``batch.label`` for a posterior (or prior) predictive check.

    Args:
        model: A model.
        batch: A training batch, or one to predict with (``data.candidates``), for which ``BradleyTerry`` has no
            pairs.
        draws: Number of draws ``S``.
        source: ``"posterior"`` (through the guide) or ``"prior"``.
        seed: Seed of the draws; the caller's random state is left alone.

    Returns:
        Draws by site. Scores are ``[S, G, C or 1, L]``; ``"label"`` ``[S, G, C]`` of ``Bernoulli``, ``"preference"``
        ``[S, G, P, n]`` of ``BradleyTerry``. NaN where there is no entry or candidate. ``"choice"`` of ``Softmax``: counts
        ``[S, G, 1, C]``, or with ``negatives`` the place of what is chosen, ``[S, G, P]``.

    Raises:
        ValueError: ``source`` is neither, or ``draws`` is below 1.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> batch = br.data.candidates(model.histories, torch.tensor([0]), torch.tensor([[3, 4]]))
        >>> predictive(model, batch, draws=7)["label"].shape
        torch.Size([7, 1, 2])
    """
    if not isinstance(batch, Batch):
        raise TypeError(
            f"a batch is needed, of data.TrainingBatches(..).epoch(1) or data.candidates(..), not "
            f"{type(batch).__name__}"
        )
    check_draws(draws, source, seed)
    batch = replace(batch, label=None).to(model.device)
    guide = model.guide if source == "posterior" and model.is_random else None
    with (
        evaluating(model),
        torch.no_grad(),
        torch.random.fork_rng(),
        pyro.get_param_store().scope(),
    ):
        seed_torch(torch_seed(f"predictive, {source}", seed), model.device)
        drawn = Predictive(model.model, guide=guide, num_samples=draws)(batch)
        sites = {name: site.mask for name, site in model.attend(batch).items()}
    return {name: _hidden(value, sites.get(name), batch) for name, value in drawn.items()}


def _hidden(value: Tensor, there: Tensor | None, batch: Batch) -> Tensor:
    """NaN where nothing is: of scores by their mask, of observations by that of the candidates."""
    if there is None:
        there = batch.mask
        if value.shape[-2:] != there.shape:
            pairs = batch.mask.unflatten(-1, (-1, 1 + batch.negatives))
            there = pairs[..., 1:] if value.shape[-3:] == pairs[..., 1:].shape else None
    return value if there is None else value.float().masked_fill(~there, torch.nan)
