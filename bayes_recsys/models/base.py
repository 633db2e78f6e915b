"""What every model shares: the Pyro model, its guide, and deterministic scoring."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pyro
import pyro.poutine as poutine
import torch
from pyro.distributions import constraints
from pyro.poutine.indep_messenger import IndepMessenger
from pyro.poutine.runtime import am_i_wrapped, effectful
from torch import Tensor, nn

from bayes_recsys.data.batches import Batch, candidates
from bayes_recsys.data.history import Histories
from bayes_recsys.data.ragged import of_similar
from bayes_recsys.likelihoods import Bernoulli, Likelihood
from bayes_recsys.models.once import Once
from bayes_recsys.models.options import Options
from bayes_recsys.models.own_guide import Guide, drawn_by
from bayes_recsys.nn.attention import Attended, Attention
from bayes_recsys.nn.modes import evaluating
from bayes_recsys.scores.distribution import Score
from bayes_recsys.scores.rows import ScoreRows
from bayes_recsys.streams import seed_torch
from bayes_recsys.threads import side_by_side

# With a guide of one's own, how many draws an expectation is the mean of.
DRAWS = 20


class Model(nn.Module):
    """A latent-factor model that attends over histories.

    A subclass says what attends over what (:meth:`attend`) and how contexts become a logit
    (:meth:`logits`), nothing else. From these the base derives

    * :meth:`model`: draw every site of scores from its prior, observe the likelihood;
    * :meth:`guide`: draw every site from the approximate posterior;
    * :meth:`score`: logits with expected scores, no sampling.

    Both run under Pyro's own inference too: ``SVI(m.model, m.guide, Adam(..), Trace_ELBO())``.

    A subclass's constructor takes the histories and options by keyword, each with a default;
    ``super().__init__(histories)`` is all that it passes on.

    Args:
        histories: Vocabularies and histories.

    Attributes:
        options: The class and all of the constructor's options, see
            :class:`~bayes_recsys.models.options.Options`.
        likelihood: What is observed: ``Bernoulli()`` until :func:`~bayes_recsys.inference.fitting.fit`
            is told another, or you set it.
        own_guide: A guide in place of :meth:`amortised_guide`, which :func:`~bayes_recsys.inference.fitting.fit` is
            given; ``None`` for that.

    Raises:
        TypeError: ``histories`` are none, or an option has no default.
    """

    options: Options
    likelihood: Likelihood

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        _, _, *options = inspect.signature(cls.__init__).parameters.values()
        for option in options:
            if option.kind is not option.KEYWORD_ONLY or option.default is option.empty:
                raise TypeError(
                    f"{cls.__name__}.__init__: {option} must be an option by keyword with a default: "
                    f"def __init__(self, histories, *, {option.name}=..)"
                )

    def __new__(cls, *histories, **options) -> Model:
        self = super().__new__(cls)
        if histories or options:  # not so in a copy, which brings them along
            given = {name: value for name, value in options.items() if name != "histories"}
            object.__setattr__(self, "options", Options(cls, given))
        return self

    def __init__(self, histories: Histories):
        super().__init__()
        if not isinstance(histories, Histories):
            raise TypeError(f"histories must be data.histories(split), not {histories!r}")
        self.histories = histories
        self.likelihood = Bernoulli()
        self.own_guide: Guide | None = None
        self._attended = Once()

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def attentions(self) -> list[Attention]:
        """Everything that attends."""
        return [module for module in self.modules() if isinstance(module, Attention)]

    @property
    def is_random(self) -> bool:
        """Whether any attention has latent scores; if not, the guide is empty."""
        return any(attention.is_random for attention in self.attentions)

    def attend(self, batch: Batch) -> dict[str, Attended]:
        """The attention sites by name. Names become Pyro sites and ArviZ variables."""
        raise NotImplementedError

    def strengths(self, log_power: dict[str, Tensor]) -> dict[str, Tensor]:
        """``τ ln s`` (or ``ln E[s^τ]``) of every site as its entries are weighed by it: as they are,
        unless a model lets one site's scores count in another."""
        return log_power

    def logits(self, batch: Batch, contexts: dict[str, Tensor]) -> Tensor:
        """Logits ``x [G, C]`` from the batch and each site's context ``[G, C, K]``."""
        raise NotImplementedError

    def logits_of(
        self, batch: Batch, attended: dict[str, Attended], strengths: dict[str, Tensor]
    ) -> Tensor:
        """Logits ``[.., G, C]`` by way of the contexts: the forward pass, whether strengths are drawn
        or expected."""
        contexts = {name: site.context(strengths[name]) for name, site in attended.items()}
        return self.logits(batch, contexts)

    def model(self, batch: Batch) -> Tensor:
        """The generative story: scores from their prior, then the observations.

        Args:
            batch: A training batch. Its ``scale`` multiplies every term, so that the ELBO of a
                batch estimates the ELBO of the data set.

        Returns:
            Logits ``[G, C]``.

        Raises:
            ValueError: :meth:`logits` returned another shape.
        """
        self._announce_parameters()
        with poutine.scale(scale=batch.scale), pyro.plate("block", len(batch.user), dim=-2):
            attended, log_power = self._attended.taken(self, batch), {}
            for name, site in attended.items():
                if site.attention.is_random:
                    score = _sample(name, site.prior(), site, pyro.plate)
                    log_power[name] = site.log_power(score)
                else:
                    log_power[name] = site.expected_log_power()
            logits = self.logits_of(batch, attended, self.strengths(log_power))
            self._check_logits(logits, batch)
            self.likelihood.observe(logits, batch)
        return logits

    def forward(self, batch: Batch) -> Tensor:
        """The same as :meth:`model`, so that ``Trace_ELBO()(m, m.guide)`` is a module that holds
        the parameters."""
        return self.model(batch)

    def guide(self, batch: Batch) -> object:
        """The approximate posterior: a guide of your own if :attr:`own_guide` is one, else
        :meth:`amortised_guide`."""
        return (self.own_guide or self.amortised_guide)(batch)

    def amortised_guide(self, batch: Batch) -> dict[str, Tensor]:
        """Scores with mean ``exp(energy)``.

        Returns:
            Drawn scores by site, ``[G, C, L]`` (``[G, 1, L]`` with scope ``"user"``); empty if
            every attention is ``Point``.
        """
        attended = self._attended.kept(self, batch)
        with poutine.scale(scale=batch.scale), IndepMessenger("block", len(batch.user), -2):
            return {
                name: _sample(name, site.guide(), site, IndepMessenger)
                for name, site in attended.items()
                if site.attention.is_random
            }

    def expected_logits(self, batch: Batch) -> Tensor:
        """Logits ``[G, C]`` with every score at its expectation, ``E[s^τ]`` for ``s^τ``; with a guide of your
        own, which knows no expectation, their mean over 20 draws, the same in every call with the same batch."""
        if self.own_guide is not None:
            with torch.random.fork_rng():
                seed_torch(0, self.device)
                return drawn_by(self, batch, DRAWS, self.device)[1].mean(0)
        attended = self.attend(batch)
        expected = {name: site.expected_log_power() for name, site in attended.items()}
        return self.logits_of(batch, attended, self.strengths(expected))

    @torch.no_grad()
    def score(self, user: Tensor, item: Tensor, *, at_once: int = 1_000_000) -> Tensor:
        """Expected logits of candidates, for ranking.

        Args:
            user: User codes, shape ``[G]``.
            item: Candidate codes, shape ``[G, C]``.
            at_once: Most attention entries held at once: memory is bounded by it.

        Returns:
            Logits ``[G, C]``.
        """
        with torch.inference_mode(False):  # which threads would not be in, nor write into what is
            logits = torch.empty(item.shape)

        @torch.no_grad()
        def fill(part: tuple[Tensor, Tensor]) -> None:
            rows, columns = part
            batch = candidates(self.histories, user[rows], item[rows][:, columns])
            logits[rows[:, None], columns] = self.expected_logits(batch.to(self.device)).cpu()

        with evaluating(self):
            parts = self._parts(user, item, at_once)
            if self.own_guide is None:
                side_by_side(fill, parts)
            else:  # Pyro keeps what is being traced in one place for all threads
                for part in parts:
                    fill(part)
        return logits

    def alike(self, user: Tensor, item: Tensor, at_once: int) -> Iterator[Tensor]:
        """Positions ``[..]`` of users with candidates ``[G, C]``, together where they have similar
        histories and no more attention entries than ``at_once``."""
        if any(attention.over == "audience" for attention in self.attentions):
            yield from torch.arange(len(user)).split(1)
        else:
            lengths = self.histories.history.lengths[user].clamp(min=1)
            yield from of_similar(lengths * item.shape[1], at_once)

    def _parts(self, user: Tensor, item: Tensor, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Users and candidates ``[G, C]`` in parts ``[..], [..]`` of so many attention entries: users of
        similar histories together; audiences differ by candidate, so that there a user is alone, with
        candidates of similar audiences."""
        over = {attention.over for attention in self.attentions}
        lengths = self.histories.history.lengths[user].clamp(min=1)
        for rows in self.alike(user, item, at_once):
            if "audience" in over:
                entries = self.histories.audience.lengths[item[rows[0]]]
                if "history" in over:
                    entries = entries.maximum(lengths[rows])
                parts = of_similar(entries, at_once)
            else:
                most = at_once // (int(lengths[rows].max()) * len(rows))
                parts = torch.arange(item.shape[1]).split(max(1, most))
            for columns in parts:
                yield rows, columns

    def _check_logits(self, logits: Tensor, batch: Batch) -> None:
        """Refuse what would broadcast against labels, unnoticed."""
        shape = getattr(logits, "shape", ())
        if shape[-2:] != batch.item.shape:
            raise ValueError(
                f"{type(self).__name__}.logits(batch, contexts) must return a tensor [G, C], here "
                f"{list(batch.item.shape)}, not {list(shape) or type(logits).__name__}"
            )

    def _announce_parameters(self) -> None:
        """Show the parameters to ``pyro.infer.SVI``, which trains what it sees in the trace.

        ``pyro.module`` would do so through Pyro's global store, where a second model's parameters
        are shadowed by those of the first of the same name, and silently not trained.
        """
        if am_i_wrapped():
            for name, parameter in self.named_parameters():
                view = parameter.view_as(parameter)
                view.unconstrained = weakref.ref(parameter)
                _param(view, name=name, constraint=constraints.real, event_dim=0)


@effectful(type="param")
def _param(value: Tensor, *, constraint: constraints.Constraint, event_dim: int) -> Tensor:
    """``pyro.param`` without the store."""
    return value


def _sample(
    name: str,
    distribution: Score,
    site: Attended,
    plate: Callable[[str, int, int], AbstractContextManager],
) -> Tensor:
    """The latent site of scores. What belongs to a user counts once a user, though the user's blocks
    are many. (Weights of an objective are laid on from outside, see
    :class:`~bayes_recsys.inference.objective.Tempered`.)

    Plates of the model are ``pyro.plate``; for the guide's, the same but for a subsample that they would
    draw, their plain ``IndepMessenger`` will do, in half the time.
    """
    share = site.entries.batch.share[:, None] if site.attention.of_user else 1.0
    rows = ScoreRows(distribution, site.present)
    # Scale outermost: plates would each multiply and divide what they find inside.
    with poutine.scale(scale=share), plate(f"{name}_candidate", site.present.n_rows, dim=-1):
        return pyro.sample(name, rows, infer={"present": site.present})
