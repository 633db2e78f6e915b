"""What the scores of one attention are: families, scope, and the prior's mean."""

from __future__ import annotations

from dataclasses import dataclass

from bayes_recsys.scores.distribution import RandomFamily
from bayes_recsys.scores.families import Family, LogNormal, Point

SCOPES = ("user", "interaction")
PRIOR_MEANS = ("constant", "learned", "contextual")


@dataclass(frozen=True)
class Scores:
    """Latent attention scores: their prior, their guide, and how often each is drawn.

    Give :class:`~bayes_recsys.scores.families.Point` in place of ``Scores`` for deterministic attention.

    Args:
        guide: Family of the approximate posterior, its mean ``exp(energy)``.
        prior: Family of the prior. Its scale may be ``"learned"`` (empirical Bayes).
        scope: What one score belongs to. ``"user"``: a (user, history entry), one score shared by
            all of the user's targets, the strength of preference behind that choice; its divergence
            counts once in the objective. Only a query that does not depend on the target can have
            it. ``"interaction"``: a (user, target, history entry), drawn anew for every target, as
            the paper has it.
        prior_mean: ``"constant"``: one. ``"learned"``: one number, fitted. ``"contextual"``: from
            the keys, averaging one over a history.

    Raises:
        ValueError: An option is unknown, a family is ``Point``, or the prior's scale is
            ``"amortised"`` (a prior does not see the query).

    Example:
        >>> from bayes_recsys import Gamma, Weibull
        >>> Scores(guide=Weibull("learned"), prior=Gamma(1.0)).scope
        'user'
    """

    guide: Family = LogNormal(scale="learned")
    prior: Family = LogNormal(scale=1.0)
    scope: str = "user"
    prior_mean: str = "constant"

    def __post_init__(self) -> None:
        for name in ("guide", "prior"):
            family = getattr(self, name)
            if not isinstance(family, Point | RandomFamily):
                raise TypeError(
                    f"{name} must be a family like LogNormal(scale=1.0), not {family!r}"
                )
            if isinstance(family, Point):
                raise ValueError(
                    f"{name}=Point() contradicts Scores: Point has no latent score. Give Point() in "
                    "place of Scores"
                )
        if self.scope not in SCOPES:
            raise ValueError(f"scope must be one of {', '.join(SCOPES)}, not {self.scope!r}")
        if self.prior_mean not in PRIOR_MEANS:
            raise ValueError(
                f"prior_mean must be one of {', '.join(PRIOR_MEANS)}, not {self.prior_mean!r}"
            )
        if self.prior.scale == "amortised":
            raise ValueError(
                "the prior's scale cannot be 'amortised': a prior does not see the query; use "
                "'learned' or a number"
            )
