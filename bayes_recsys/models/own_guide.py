"""A guide of the user's own in place of a model's amortised one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyro
import pyro.poutine as poutine
import torch
from pyro.infer.autoguide import AutoCallable, AutoGuide, AutoGuideList
from torch import Tensor

from bayes_recsys.data.batches import Batch
from bayes_recsys.likelihoods import Likelihood

if TYPE_CHECKING:
    from bayes_recsys.models.base import Model

Guide = Callable[[Batch], object]


def give_guide(model: Model, guide: Guide | None) -> None:
    """Have a model drawn by this guide, by its amortised one if it is ``None`` or that very one.

    Raises:
        ValueError: It is ``model.guide``, which calls it.
    """
    owner, function = getattr(guide, "__self__", None), getattr(guide, "__func__", None)
    if owner is model and function is type(model).guide:
        raise ValueError(
            "guide=model.guide would call itself; for the model's own leave guide out, or give "
            "model.amortised_guide"
        )
    if owner is model and function is type(model).amortised_guide:
        guide = None
    del model.own_guide  # a module is kept elsewhere than a function
    model.own_guide = guide


def check_guide(guide: Guide, model: Model, batch: Batch) -> None:
    """Call a guide once, and refuse what cannot be trained on batches of other users each time.

    Raises:
        TypeError: It is not callable.
        ValueError: It has parameters outside torch modules, or is an AutoGuide of sites whose size is a
            batch's.
    """
    if not callable(guide) or isinstance(guide, type):
        raise TypeError(f"guide must be a function of a batch, or a module, not {guide!r}")
    with (
        pyro.get_param_store().scope(),
        torch.no_grad(),
        torch.random.fork_rng(),
        pyro.validation_enabled(False),
    ):
        for part in _automatic(guide):
            _check_sites_of(part, batch)
        try:
            trace = poutine.trace(guide).get_trace(batch)
        except (TypeError, AttributeError) as error:
            raise TypeError(
                f"guide must be a function of a batch that draws the model's sites; called with one, "
                f"{type(guide).__name__} failed: {error}"
            ) from error
        if not model.is_random and not list(trace.stochastic_nodes):
            raise ValueError("guide draws nothing, as does the model: every attention is Point()")
        own = {id(parameter) for parameter in model.parameters()}
        used = pyro.get_param_store().named_parameters()
        foreign = [name for name, parameter in used if id(parameter) not in own]
    if foreign:
        raise ValueError(
            f"the guide calls pyro.param({foreign[0]!r}): make it a pyro.nn.PyroModule whose parameters "
            "are its own, so that fit can train and keep them"
        )


def _check_sites_of(guide: AutoGuide, batch: Batch) -> None:
    for name, site in poutine.trace(guide.model).get_trace(batch).iter_stochastic_nodes():
        if site["cond_indep_stack"]:
            raise ValueError(
                f"{type(guide).__name__} remembers the sizes of {name!r} in the first batch, but each batch has "
                "other users and sizes. An AutoGuide can have global sites alone: with "
                "shown = poutine.block(model.model, expose=[..]), give AutoGuideList(shown) with AutoNormal(shown) "
                "and model.amortised_guide appended; or a guide of your own"
            )


def _automatic(guide: Guide) -> Iterator[AutoGuide]:
    """The AutoGuides that remember what they see."""
    if isinstance(guide, AutoGuideList):
        for part in guide:
            yield from _automatic(part)
    if isinstance(guide, AutoGuide) and not isinstance(guide, AutoCallable):
        yield guide


def drawn_by(
    model: Model, batch: Batch, draws: int, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], Tensor]:
    """What the guide draws of sites of scores, each ``[S, G, C or 1, L]``, and the model's logits with these
    and all else it draws, ``[S, G, C]``."""
    scores: dict[str, list[Tensor]] = {}
    logits = []
    # Parameters are the modules' own; what Pyro notes of them in its store is left to nobody.
    local = pyro.get_param_store().scope()
    with _unobserved(model), local, pyro.validation_enabled(False), torch.no_grad():
        sites = {name for name, site in model.attend(batch).items() if site.attention.is_random}
        for _ in range(draws):
            trace = poutine.trace(model.guide).get_trace(batch)
            logits.append(poutine.replay(model.model, trace=trace)(batch).to(device))
            for name in sites:
                scores.setdefault(name, []).append(trace.nodes[name]["value"].to(device))
    return {name: torch.stack(values) for name, values in scores.items()}, torch.stack(logits)


class _Nothing(Likelihood):
    """Observes nothing."""

    def observe(self, logits: Tensor, batch: Batch) -> None:
        pass

    def log_likelihood(self, logits: Tensor) -> Tensor:
        raise NotImplementedError


@contextmanager
def _unobserved(model: Model) -> Iterator[None]:
    likelihood, model.likelihood = model.likelihood, _Nothing(1)
    try:
        yield
    finally:
        model.likelihood = likelihood
