"""What every model shares: the Pyro model, its guide, and deterministic scoring."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.runtime import am_i_wrapped, effectful
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch, candidates
from bayes_recsys.data.histories import Histories
from bayes_recsys.likelihoods import Bernoulli, Likelihood
from bayes_recsys.nn.attention import Attended, Attention, combined

KL_REDUCTIONS = ("sum", "mean")


class Model(nn.Module):
    """A latent-factor model that attends over histories.

    A subclass says what attends over what (:meth:`attend`) and how contexts become a logit
    (:meth:`logits`), nothing else. From these the base derives

    * :meth:`model`: draw every site of scores from its prior, observe the likelihood;
    * :meth:`guide`: draw every site from the approximate posterior;
    * :meth:`score`: logits with expected scores, no sampling.

    Both run under Pyro's own inference too: ``SVI(m.model, m.guide, Adam(..), Trace_ELBO())``.

    Args:
        histories: Vocabularies and histories.
        options: The constructor's other arguments, by name: what it takes to build the same
            model again when it is loaded from disk.
    """

    def __init__(self, histories: Histories, **options):
        super().__init__()
        if not isinstance(histories, Histories):
            raise TypeError(f"histories must be data.histories(split), not {histories!r}")
        self.histories = histories
        self.options = options

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def is_random(self) -> bool:
        """Whether any attention has latent scores; if not, the guide is empty."""
        return any(m.is_random for m in self.modules() if isinstance(m, Attention))

    def attend(self, batch: Batch) -> dict[str, Attended]:
        """The attention sites by name. Names become Pyro sites and ArviZ variables."""
        raise NotImplementedError

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        """Logits ``x [G, C]`` from the batch and each site's context ``[G, C, K]``."""
        raise NotImplementedError

    def model(
        self,
        batch: Batch,
        likelihood: Likelihood = Bernoulli(),
        kl_weight: float = 1.0,
        kl_reduction: str = "sum",
    ) -> Tensor:
        """The generative story: scores from their prior, then the observations.

        Args:
            batch: A training batch. Its ``scale`` multiplies every term, so that the ELBO of a
                batch estimates the ELBO of the data set.
            likelihood: What is observed.
            kl_weight: Weight of the scores' terms in model and guide. 1 is the ELBO; less is a
                tempered objective, no bound.
            kl_reduction: ``"sum"`` over the history (the ELBO), or ``"mean"`` over each pair's
                valid history.

        Returns:
            Logits ``[G, C]``.
        """
        self._announce_parameters()
        if likelihood.l2:
            squares = sum(p.square().sum() for p in self.parameters() if p.ndim > 1)
            pyro.factor("l2", -likelihood.l2 * squares)
        with poutine.scale(scale=batch.scale), pyro.plate("block", len(batch.user), dim=-3):
            attended, log_power = self.attend(batch), {}
            for name, site in attended.items():
                if site.attention.is_random:
                    score = self._sample(batch, name, site.prior(), site, kl_weight, kl_reduction)
                    log_power[name] = site.log_power(score)
                else:
                    log_power[name] = site.expected_log_power()
            logits = self._logits(batch, attended, log_power)
            likelihood.observe(logits, batch)
        return logits

    def forward(self, *args, **kwargs) -> Tensor:
        """The same as :meth:`model`, so that ``Trace_ELBO()(m, m.guide)`` is a module that holds
        the parameters."""
        return self.model(*args, **kwargs)

    def guide(
        self,
        batch: Batch,
        likelihood: Likelihood = Bernoulli(),
        kl_weight: float = 1.0,
        kl_reduction: str = "sum",
    ) -> dict[str, Tensor]:
        """The approximate posterior: scores with mean ``exp(energy)``.

        Takes the arguments of :meth:`model`.

        Returns:
            Drawn scores by site, ``[G, C, L]`` (``[G, 1, L]`` with scope ``"user"``); empty if
            every attention is ``Point``.
        """
        with poutine.scale(scale=batch.scale), pyro.plate("block", len(batch.user), dim=-3):
            return {
                name: self._sample(batch, name, site.guide(), site, kl_weight, kl_reduction)
                for name, site in self.attend(batch).items()
                if site.attention.is_random
            }

    def expected_logits(self, batch: Batch) -> Tensor:
        """Logits ``[G, C]`` with every score at its expectation, ``E[s^τ]`` for ``s^τ``."""
        attended = self.attend(batch)
        expected = {name: site.expected_log_power() for name, site in attended.items()}
        return self._logits(batch, attended, expected)

    def _logits(self, batch, attended, log_power) -> Tensor:
        powers = combined(attended, log_power)
        contexts = {name: site.context(powers[name]) for name, site in attended.items()}
        return self.logits(batch, contexts)

    @torch.no_grad()
    def score(self, user: Tensor, item: Tensor, *, entries: int = 100_000) -> Tensor:
        """Expected logits of candidates, for ranking.

        Args:
            user: User codes, shape ``[G]``.
            item: Candidate codes, shape ``[G, C]``.
            entries: Most attention entries ``C · L`` held at once: memory is bounded by it.

        Returns:
            Logits ``[G, C]``.
        """
        logits = torch.empty(item.shape)
        with evaluating(self):
            for g in range(len(user)):
                for part in _parts(self.attended_length(user[g], item[g]), entries):
                    batch = candidates(self.histories, user[g : g + 1], item[g : g + 1, part])
                    logits[g, part] = self.expected_logits(batch.to(self.device))[0].cpu()
        return logits

    def attended_length(self, user: Tensor, item: Tensor) -> Tensor:
        """How many entries a user ``[]`` has to attend over for each of the candidates ``[C]``, at
        most; shape ``[C]``."""
        return self.histories.entries.lengths[user].expand(item.shape)

    @staticmethod
    def _sample(batch, name, distribution, site, kl_weight, kl_reduction) -> Tensor:
        scale = torch.as_tensor(float(kl_weight))
        if site.is_of_user:
            scale = scale * batch.share[:, None, None]
        if kl_reduction == "mean":
            scale = scale / site.site.sum(-1, keepdim=True).clamp(min=1)
        elif kl_reduction != "sum":
            raise ValueError(f"kl_reduction must be 'sum' or 'mean', not {kl_reduction!r}")
        _, candidates_, length = site.site.shape
        # Scale outermost: plates would each multiply and divide what they find inside.
        with (
            poutine.scale(scale=scale),
            pyro.plate(f"{name}_candidate", candidates_, dim=-2),
            pyro.plate(f"{name}_history", length, dim=-1),
        ):
            return pyro.sample(name, distribution.mask(site.site))

    def _announce_parameters(self) -> None:
        """Show the parameters to ``pyro.infer.SVI``, which trains what it sees in the trace.

        ``pyro.module`` would do so through Pyro's global store, where a second model's parameters
        are shadowed by those of the first of the same name, and silently not trained.
        """
        if am_i_wrapped():
            for name, parameter in self.named_parameters():
                view = parameter.view_as(parameter)
                view.unconstrained = weakref.ref(parameter)
                effectful(type="param")(lambda value: value)(view, name=name)


def _parts(length: Tensor, entries: int) -> Iterator[Tensor]:
    """Positions ``[..]`` of candidates of similar length ``[C]``, so many together that padded to the
    longest they have no more than ``entries`` entries (a single one may exceed it)."""
    order = length.argsort(stable=True)
    while len(order):
        together = length[order] * torch.arange(1, len(order) + 1)
        count = max(1, int((together <= entries).sum()))
        yield order[:count]
        order = order[count:]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout, and afterwards as before."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
