"""Random scores on a command line: families of guide and prior, of each side."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from typing import Any

from bayes_recsys.scores.distribution import LEARNED_SCALES, RandomFamily
from bayes_recsys.scores.families import Point
from bayes_recsys.scores.spec import PRIOR_MEANS, SCOPES, Scores

SCORES = Scores()
# What means something with random scores only.
OF_SCORES = (
    "guide_scale",
    "prior_scale",
    "prior_mean",
    "scope",
    "sides",
    "item_guide",
    "item_prior",
    "kl_weight",
    "kl_reduction",
    "kl_warmup",
)


def families() -> dict[str, type]:
    """Point, and every random family that is defined by now, by name; one's own too."""
    return {"point": Point, **{one.__name__.lower(): one for one in _below(RandomFamily)}}


def _below(base: type) -> Iterator[type]:
    for one in base.__subclasses__():
        if not inspect.isabstract(one):
            yield one
        yield from _below(one)


def add_scores(group: argparse._ArgumentGroup) -> None:
    add, known, default = group.add_argument, families(), type(SCORES.guide).__name__.lower()
    add("--guide", choices=known, help=as_help("point: no random scores", default))
    add("--prior", choices=known, help=as_help("family of the prior", "as the guide"))
    add("--item-guide", choices=known, help=as_help("of the target's scores", "as --guide"))
    add("--item-prior", choices=known, help=as_help("of the target's scores", "as --prior"))
    add(
        "--guide-scale",
        type=scale,
        help=as_help("sd of ln s, learned or amortised", SCORES.guide.scale),
    )
    add("--prior-scale", type=scale, help=as_help("sd of ln s, or learned", SCORES.prior.scale))
    add("--prior-mean", choices=PRIOR_MEANS, help=as_help("of the scores", SCORES.prior_mean))
    add("--scope", choices=SCOPES, help=as_help("what one score belongs to", SCORES.scope))
    add(
        "--sides",
        choices=("user", "item", "both"),
        help=as_help("whose scores are random", "user; both with --scope interaction"),
    )


def scores_of(options: argparse.Namespace) -> dict[str, Scores | Point]:
    """The scores of both sides.

    Raises:
        ValueError: Options contradict each other.
    """
    random = [name for name in OF_SCORES if getattr(options, name) is not None]
    of_user = _side(options, options.guide, options.prior, random)
    if isinstance(of_user, Point):
        return {"user_scores": of_user, "item_scores": of_user}
    prior = options.item_prior or options.prior
    of_item = _side(options, options.item_guide or options.guide, prior, random)
    sides = options.sides or ("both" if of_user.scope == "interaction" else "user")
    if sides == "user" and (options.item_guide or options.item_prior):
        raise ValueError(
            "--item-guide and --item-prior are of the target's scores, which are not random here; "
            "add --sides both --scope interaction"
        )
    if sides != "user" and of_item.scope == "user":
        raise ValueError(
            f"--sides {sides}: the target's scores are drawn anew for every target; add --scope interaction"
        )
    return {
        "user_scores": Point() if sides == "item" else of_user,
        "item_scores": Point() if sides == "user" else of_item,
    }


def _side(
    options: argparse.Namespace, guide: str | None, prior: str | None, random: list[str]
) -> Scores | Point:
    families_of = {"guide": guide, "prior": prior or guide}
    if len({name == "point" for name in families_of.values()}) > 1:
        raise ValueError(
            "guide and prior contradict (--guide, --prior, --item-guide, --item-prior): point has no latent "
            "scores; use it for both of a side"
        )
    if guide == "point":
        if random:
            raise ValueError(f"{as_flag(random[0])} means nothing with a guide of point")
        return Point()
    scales = {"guide": options.guide_scale, "prior": options.prior_scale}
    drawn = {}
    for side, name in families_of.items():
        default = getattr(SCORES, side)
        made_of = type(default) if name is None else families()[name]
        drawn[side] = made_of(default.scale if scales[side] is None else scales[side])
    return Scores(**drawn, **given(options, "scope", "prior_mean"))


def scale(text: str) -> float | str:
    """A width: a number, or how it is learned."""
    return text if text in LEARNED_SCALES else float(text)


def as_help(text: str, default: Any) -> str:
    return f"{text} (default: {default})"


def as_flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """What the command line says of these."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
