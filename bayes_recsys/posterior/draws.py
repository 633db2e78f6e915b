"""Draws of scores, weights and logits from the posterior or the prior."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_recsys.arguments import check_choice, check_whole
from bayes_recsys.data.batches import Batch, candidates
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.models.own_guide import drawn_by
from bayes_recsys.nn.attention import Attended
from bayes_recsys.nn.modes import evaluating
from bayes_recsys.scores.distribution import Score
from bayes_recsys.streams import seed_torch, torch_seed

SOURCES = ("posterior", "prior")


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
        seed: Seed of the draws. A user's are the same whoever else is drawn for (by a guide of your own, which draws for all
            of them together, only one at a time); the caller's random state is left alone.
        at_once: Most score entries ``draws · C · L`` of a user alone that are computed at once; one draw
            is the least.

    Returns:
        Scores and attention weights of every site, and logits; shapes as :class:`Draws` says.

    Raises:
        ValueError: ``draws`` is below 1 or ``source`` is neither.
        MemoryError: They do not fit.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> drawn = draw(model, torch.tensor([0, 3]), torch.tensor([[1, 2, 5], [4, 8, 9]]), draws=7)
        >>> drawn.logits.shape, drawn.scores["user_attention"].shape[:2]
        (torch.Size([7, 2, 3]), torch.Size([7, 2]))
    """
    check_draws(draws, source, seed)
    logits, scores, weights = [], {}, {}
    with evaluating(model), torch.random.fork_rng():
        batch = candidates(model.histories, user, item).to(model.device)
        attended = model.attend(batch)
        valid = {name: site.entries.present.mask for name, site in attended.items()}
        entries = sum(mask.numel() for mask in valid.values())
        # Scores and weights, each in parts and put together.
        size = 4.0 * draws * 4 * entries
        check_memory(size, f"{draws:,} draws of {entries:,} scores", "draws, users or items")
        for drawn, strengths, part in _parts(model, batch, attended, draws, source, seed, at_once):
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
    """The logits ``[S, G, C]`` of :func:`draw`, which takes the same arguments; nothing else is kept, and
    of users no more at a time than have ``at_once`` entries."""
    check_draws(draws, source, seed)
    check_memory(4.0 * draws * item.numel(), f"{draws:,} draws of {item.numel():,} logits", "draws")
    logits = torch.empty(draws, *item.shape)
    with evaluating(model), torch.random.fork_rng():
        alike = model.alike(user, item, at_once // draws)
        if model.own_guide is not None:  # it draws for all users of a batch together
            alike = torch.arange(len(user)).split(1)
        for rows in alike:
            batch = candidates(model.histories, user[rows], item[rows]).to(model.device)
            parts = _parts(model, batch, model.attend(batch), draws, source, seed, at_once)
            logits[:, rows] = torch.cat([part for _, _, part in parts])
    return logits


def check_draws(draws: int, source: str, seed: int) -> None:
    """Refuse what cannot be drawn (``ValueError``)."""
    check_whole("draws", draws)
    check_choice("source", source, SOURCES)
    check_whole("seed", seed, least=0)


def _parts(
    model: Model,
    batch: Batch,
    attended: dict[str, Attended],
    draws: int,
    source: str,
    seed: int,
    at_once: int,
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], Tensor]]:
    """Some draws at a time (of several users all at once): scores of random sites, strengths of all,
    logits ``[.., G, C]``."""
    shape = batch.item.shape
    widest = max(
        [shape[1], *(site.entries.present.shape[1:].numel() for site in attended.values())]
    )
    chunk = max(1, at_once // widest) if shape[0] == 1 else draws
    laws = {
        name: site.guide() if source == "posterior" else site.prior()
        for name, site in attended.items()
        if site.attention.is_random
    }
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        seeds = None if start else [_seed_of(user, source, seed) for user in batch.user.tolist()]
        if source == "posterior" and model.own_guide is not None:
            if seeds is not None:
                seed_torch(seeds[0], model.device)
            drawn, logits = drawn_by(model, batch, size)
            known = {name: drawn[name].to(model.device) for name in laws}
        else:
            known, logits = _of_each_user(attended, laws, size, seeds), None
        strengths = model.strengths(
            {
                name: site.log_power(known[name]) if name in known else site.expected_log_power()
                for name, site in attended.items()
            }
        )
        if logits is None:
            logits = model.logits_of(batch, attended, strengths)
        yield known, strengths, logits.expand(size, *shape).cpu()


def _of_each_user(
    attended: dict[str, Attended], laws: dict[str, Score], size: int, seeds: list[int] | None
) -> dict[str, Tensor]:
    """Scores ``[S, G, C, L]``, each user's from a stream of its own (or, of one user, on from where it is),
    and no longer than its longest row: as if it were alone. Padding is 1."""
    drawn = {name: law.log_mean.new_ones(size, *law.log_mean.shape) for name, law in laws.items()}
    for g in range(1 if seeds is None else len(seeds)):
        if seeds is not None:
            seed_torch(seeds[g], *{law.log_mean.device for law in laws.values()})
        for name, law in laws.items():
            there = attended[name].present.there[g].any(0).nonzero()
            length = int(there.max()) + 1 if len(there) else 1
            drawn[name][:, g : g + 1, :, :length] = law.of_block(g, length).sample((size,))
    return drawn


def _seed_of(user: int, source: str, seed: int) -> int:
    return torch_seed(f"draws from the {source}", seed, user)
