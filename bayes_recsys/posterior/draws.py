"""Draws of scores, weights and logits from the posterior or the prior."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_recsys.data.batches import Batch, candidates
from bayes_recsys.models.base import Model, evaluating
from bayes_recsys.nn.attention import Attended
from bayes_recsys.streams import torch_seed


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
    at_once: int = 2_000_000,
) -> Draws:
    """Independent draws of every site, and what follows from them.

    Args:
        model: The model.
        user: User codes, shape ``[G]``.
        item: Candidate codes, shape ``[G, C]``.
        draws: Number of draws ``S``.
        source: ``"posterior"`` (through the guide) or ``"prior"``.
        seed: Seed of the draws, which are others for other users; the caller's random state is left
            alone.
        at_once: Most score entries ``draws · G · C · L`` computed at once; one draw of all is the
            least.

    Raises:
        ValueError: ``draws`` is below 1 or ``source`` is neither.
    """
    batch = _checked(model, user, item, draws, source)
    logits, scores, weights = [], {}, {}
    with evaluating(model), torch.random.fork_rng():
        torch.manual_seed(torch_seed(f"draws from the {source}", seed, *user.tolist()))
        attended = model.attend(batch)
        valid = {name: site.entries.present.mask for name, site in attended.items()}
        for drawn, strengths, part in _parts(model, batch, attended, draws, source, at_once):
            for name, site in attended.items():
                if name in drawn:
                    score = drawn[name].masked_fill(~site.mask, torch.nan)
                    score = score.squeeze(2) if site.attention.of_user else score
                    scores.setdefault(name, []).append(score.cpu())
                shown = site.weights(strengths[name]).expand(len(part), *valid[name].shape)
                shown = shown.masked_fill(~valid[name], torch.nan)
                weights.setdefault(name, []).append(shown.cpu())
            logits.append(part)
    return Draws(
        {name: torch.cat(parts) for name, parts in scores.items()},
        {name: torch.cat(parts) for name, parts in weights.items()},
        torch.cat(logits),
        {name: site.entries.code.cpu() for name, site in attended.items()},
        {name: mask.cpu() for name, mask in valid.items()},
    )


@torch.no_grad()
def draw_logits(
    model: Model,
    user: Tensor,
    item: Tensor,
    *,
    draws: int = 200,
    source: str = "posterior",
    seed: int = 0,
    at_once: int = 2_000_000,
) -> Tensor:
    """The logits ``[S, G, C]`` of :func:`draw`, which takes the same arguments; nothing else is kept."""
    batch = _checked(model, user, item, draws, source)
    with evaluating(model), torch.random.fork_rng():
        torch.manual_seed(torch_seed(f"draws from the {source}", seed, *user.tolist()))
        parts = _parts(model, batch, model.attend(batch), draws, source, at_once)
        return torch.cat([logits for _, _, logits in parts])


def _checked(model: Model, user: Tensor, item: Tensor, draws: int, source: str) -> Batch:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    if source not in ("posterior", "prior"):
        raise ValueError(f"source must be 'posterior' or 'prior', not {source!r}")
    return candidates(model.histories, user, item).to(model.device)


def _parts(
    model: Model,
    batch: Batch,
    attended: dict[str, Attended],
    draws: int,
    source: str,
    at_once: int,
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], Tensor]]:
    """Some draws at a time: scores of random sites, strengths of all, logits ``[.., G, C]``."""
    shape = batch.item.shape
    widest = max(
        [shape.numel(), *(site.entries.present.shape.numel() for site in attended.values())]
    )
    chunk = max(1, at_once // widest)
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        drawn = {
            name: (site.guide() if source == "posterior" else site.prior()).sample((size,))
            for name, site in attended.items()
            if site.attention.is_random
        }
        strengths = model.strengths(
            {
                name: site.log_power(drawn[name]) if name in drawn else site.expected_log_power()
                for name, site in attended.items()
            }
        )
        logits = model.logits_of(batch, attended, strengths)
        yield drawn, strengths, logits.expand(size, *shape).cpu()
