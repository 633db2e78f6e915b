"""Draws of users' scores that a sampler made, as a predictive."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from bayes_recsys.data.batches import candidates
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.nn.modes import evaluating
from bayes_recsys.posterior.predictive import Predictive, combined

# Most entries, of draws, candidates and history, that are held at once.
AT_ONCE = 2_000_000


@dataclass(frozen=True)
class ExactScores(Predictive):
    """What :func:`~bayes_recsys.inference.hmc.hmc` drew.

    Args:
        model: Its networks are as they were fitted.
        scores: By user code, ``s`` of the entries of the user's history, ``[chains, draws, L]``.
    """

    model: Model
    scores: dict[int, Tensor]

    @torch.no_grad()
    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits ``[S, G, C]``, ``S`` the draws of all chains.

        Raises:
            ValueError: A user's scores were not drawn.
            MemoryError: They do not fit.
        """
        check_memory(
            4.0 * self._number * item.numel(), f"{self._number:,} draws of logits", "draws"
        )
        with evaluating(self.model):
            of_users = [
                torch.cat([self._of_some(one, some) for some in items.split(self._at_once(one))], 1)
                for one, items in zip(user.tolist(), item, strict=True)
            ]
        return torch.stack(of_users, dim=1)

    @property
    def _number(self) -> int:
        """Draws of all chains."""
        return next(iter(self.scores.values())).shape[:2].numel()

    def _at_once(self, user: int) -> int:
        """Candidates whose entries are held at once."""
        if user not in self.scores:
            name = self.model.histories.user_ids[user]
            raise ValueError(f"scores of user {str(name)!r} were not drawn")
        return max(1, AT_ONCE // self.scores[user].numel())

    def _of_some(self, user: int, item: Tensor) -> Tensor:
        """Logits ``[S, C]`` of one user's candidates ``[C]``."""
        scores = self.scores[user].flatten(0, 1)[:, None, None].to(self.model.device)
        batch = candidates(self.model.histories, torch.tensor([user]), item[None])
        batch = batch.to(self.model.device)
        attended = self.model.attend(batch)
        log_power = {
            name: site.log_power(scores) if site.attention.is_random else site.expected_log_power()
            for name, site in attended.items()
        }
        strengths = self.model.strengths(log_power)
        logits = self.model.logits_of(batch, attended, strengths)
        return logits.expand(len(scores), 1, -1)[:, 0].cpu()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Log predictive probability ``ln 1/S Σ_s p(x⁽ˢ⁾)``; where the likelihood knows none, the mean logit."""
        return combined(self.likelihood, self.draw_logits(user, item))

    @torch.no_grad()
    def summary(self) -> pd.DataFrame:
        """What the data told of each user's scores, by user id.

        Returns:
            Of ``ln s``:

            ``entries``
                scores the user has
            ``moved``
                root mean square of how far means are from the prior's, in its standard deviations
            ``contraction``
                mean of ``1 - Var / Var(prior)``
            ``total contraction``
                the same of the mean of all ``ln s`` of the user, which the data tell more of than of any single one
            ``r-hat``
                largest over the scores; chains agree where it is near 1 (Gelman and Rubin, split)
            ``ess``
                smallest effective sample size over the scores
        """
        rows = {}
        with evaluating(self.model):
            for user, scores in self.scores.items():
                here = torch.tensor([user])
                batch = candidates(self.model.histories, here, torch.zeros(1, 1, dtype=torch.long))
                sites = self.model.attend(batch.to(self.model.device)).values()
                prior = next(site for site in sites if site.attention.is_random).prior()
                shape = scores.shape[-1:]
                mean, variance = (
                    one.expand(1, 1, *shape)[0, 0].cpu()
                    for one in (prior.expected_log, prior.variance_log)
                )
                log = scores.log()
                every = log.flatten(0, 1)
                of_total = every.mean(-1).var() / (variance.sum() / len(variance) ** 2)
                rows[str(self.model.histories.user_ids[user])] = {
                    "entries": scores.shape[-1],
                    "moved": float(((every.mean(0) - mean).square() / variance).mean().sqrt()),
                    "contraction": float(1 - (every.var(0) / variance).mean()),
                    "total contraction": float(1 - of_total),
                    "r-hat": float(split_gelman_rubin(log).max()),
                    "ess": float(effective_sample_size(log).min()),
                }
        return pd.DataFrame.from_dict(rows, orient="index")
