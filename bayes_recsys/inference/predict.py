"""Draws of scores, weights and logits from the posterior or the prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_recsys.data.batches import candidates
from bayes_recsys.models.base import Model, evaluating
from bayes_recsys.nn.attention import combined


@dataclass(frozen=True)
class Draws:
    """Draws for ``G`` users with ``C`` candidates each.

    Args:
        scores: By random site, ``[S, G, C, L]``, or ``[S, G, L]`` with scope ``"user"``; NaN where
            there is no such entry (or it is the target itself).
        weights: Attention weights, by site, random or not, ``[S, G, C, L]``; NaN outside ``valid``.
        logits: ``[S, G, C]``.
        codes: By site, what is attended over: item codes ``[G, L]`` of the users' histories, or user
            codes ``[G, C, L]`` of the targets' audiences.
        valid: By site, which of these each candidate attends over, ``[G, C, L]``.
    """

    scores: dict[str, Tensor]
    weights: dict[str, Tensor]
    logits: Tensor
    codes: dict[str, Tensor]
    valid: dict[str, Tensor]


@torch.no_grad()
def draw(
    model: Model,
    user: Tensor,
    item: Tensor,
    *,
    draws: int = 200,
    source: str = "posterior",
    seed: int = 0,
    entries: int = 2_000_000,
) -> Draws:
    """Independent draws of every site, and what follows from them.

    Args:
        model: The model.
        user: User codes, shape ``[G]``.
        item: Candidate codes, shape ``[G, C]``.
        draws: Number of draws ``S``.
        source: ``"posterior"`` (through the guide) or ``"prior"``.
        seed: Seed of the draws; the caller's random state is left alone.
        entries: Most score entries ``draws · G · C · L`` computed at once; one draw of all is the
            least.

    Raises:
        ValueError: ``draws`` is below 1 or ``source`` is neither.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    if source not in ("posterior", "prior"):
        raise ValueError(f"source must be 'posterior' or 'prior', not {source!r}")
    batch = candidates(model.histories, user, item).to(model.device)
    logits = []
    with evaluating(model), torch.random.fork_rng():
        torch.manual_seed(seed)
        attended = model.attend(batch)
        valid = {name: site.entries.valid for name, site in attended.items()}
        widest = max([item.numel(), *(mask.numel() for mask in valid.values())])
        chunk = max(1, entries // widest)
        scores = {name: [] for name, site in attended.items() if site.attention.is_random}
        weights = {name: [] for name in attended}
        for start in range(0, draws, chunk):
            size = min(chunk, draws - start)
            drawn = {
                name: (site.guide() if source == "posterior" else site.prior()).sample((size,))
                for name, site in attended.items()
                if site.attention.is_random
            }
            powers = {
                name: site.log_power(drawn[name]) if name in drawn else site.expected_log_power()
                for name, site in attended.items()
            }
            powers = combined(attended, powers)
            contexts = {name: site.context(powers[name]) for name, site in attended.items()}
            for name, site in attended.items():
                if name in drawn:
                    score = drawn[name].masked_fill(~site.site, torch.nan)
                    scores[name].append(score.squeeze(2) if site.is_of_user else score)
                shown = site.weights(powers[name]).expand(size, *valid[name].shape)
                weights[name].append(shown.masked_fill(~valid[name], torch.nan))
            logits.append(model.logits(batch, contexts).expand(size, *item.shape).cpu())
    return Draws(
        {name: torch.cat(parts).cpu() for name, parts in scores.items()},
        {name: torch.cat(parts).cpu() for name, parts in weights.items()},
        torch.cat(logits),
        {name: site.entries.code.cpu() for name, site in attended.items()},
        {name: mask.cpu() for name, mask in valid.items()},
    )
