"""What a model in training loses on choices that it does not see."""

from __future__ import annotations

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from bayes_recsys.arguments import check_choice
from bayes_recsys.data.negatives import negative_sampler
from bayes_recsys.data.splits import Split
from bayes_recsys.distributed import Group
from bayes_recsys.evaluation.protocols import PARTS
from bayes_recsys.likelihoods import Likelihood
from bayes_recsys.models.base import Model
from bayes_recsys.streams import stream

# Logits that are held at once.
AT_ONCE = 500_000


class HeldOutLoss:
    """Held-out choices, each with negatives that are drawn once: the same for all epochs, seeds and models of
    a likelihood with as many.

    Args:
        split: The split.
        negatives: Negatives for each choice, drawn uniformly among what is no training positive of the user;
            ``None``: all of these but the user's other choices of the part, for likelihoods over the whole catalogue.
        part: ``"validation"`` or ``"leave_one_out"``.

    Raises:
        ValueError: The part is another.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> round(HeldOutLoss(split, negatives=4).measure(model), 1)  # untrained: ln 2
        0.7
    """

    def __init__(self, split: Split, negatives: int | None, part: str = "validation"):
        check_choice("part", part, ("validation", "leave_one_out"))
        self.n_items, positives = split.interactions.n_items, split.items_by_user(part)
        self.trained, self.user, self.item = split.items_by_user("train"), positives.rows, None
        self.positive = positives.values
        if negatives is not None and len(self.user):
            rng = stream("negatives of the validation loss", 0, PARTS.index(part))
            drawn = negative_sampler(split).draw(self.user, negatives, rng)
            self.item = torch.cat([self.positive[:, None], drawn], dim=1)

    @torch.no_grad()
    def measure(self, model: Model, group: Group = Group()) -> float:
        """Mean of ``-ln p`` of what the model's likelihood observes of these choices, in nats an observation,
        with expected scores; NaN where there is no choice. Each process of the group does its share."""
        found = [self._of(model, rows) for rows in group.share(self._together())]
        found = group.gathered(found)
        observations = sum(count for _, count in found)
        return sum(total for total, _ in found) / observations if observations else float("nan")

    def of_constant(self, likelihood: Likelihood) -> float:
        """The least such loss of a model that says the same of every item, by whatever logit is best; NaN where there
        is no choice.

        With ``n`` negatives to a choice that are each observed, it is the entropy of one in ``1 + n``; of
        comparisons, ln 2.
        """
        if self.item is None:
            # The whole catalogue but what its user trained on, and but the other choices.
            count = self.user.bincount(minlength=len(self.trained.lengths))
            width = (self.n_items - self.trained.lengths - count + 1)[self.user]
        else:
            width = torch.full_like(self.user, self.item.shape[1])
        widths, often = width.unique(return_counts=True)

        def loss(logit: float) -> float:
            total, observations = 0.0, 0
            for size, times in zip(widths.tolist(), often.tolist(), strict=True):
                found = likelihood.log_likelihood(torch.full((1, size), logit, dtype=torch.double))
                total -= times * float(found.sum())
                observations += times * found.numel()
            return total / observations

        if not len(widths):
            return float("nan")
        return float(minimize_scalar(loss, bounds=(-20, 20), method="bounded").fun)

    def _together(self) -> list[Tensor]:
        """Positions of the choices of some users, together where users have as many."""
        _, count = self.user.unique_consecutive(return_counts=True)
        first = count.cumsum(0) - count
        every, current = [], []
        for place in count.argsort(stable=True).tolist():
            width = int(count[place]) * (self.n_items if self.item is None else self.item.shape[1])
            if current and (len(current) + 1) * width > AT_ONCE:
                every.append(torch.cat(current).sort().values)
                current = []
            current.append(torch.arange(int(first[place]), int(first[place] + count[place])))
        return [*every, torch.cat(current).sort().values] if current else []

    def _of(self, model: Model, rows: Tensor) -> tuple[float, int]:
        """Sum of ``-ln p`` over the observations of these choices, and their number."""
        if self.item is None:
            return self._of_catalogue(model, rows)
        user, place = self.user[rows].unique(return_inverse=True)
        column = torch.cat([torch.arange(int(n)) for n in place.bincount()])
        longest = int(column.max()) + 1
        item = self.item[rows[0]].repeat(len(user), longest, 1)
        item[place, column] = self.item[rows]
        logits = model.score(user, item.flatten(1)).view(item.shape)[place, column]
        found = model.likelihood.log_likelihood(logits.double())
        return -float(found.sum()), found.numel()

    def _of_catalogue(self, model: Model, rows: Tensor) -> tuple[float, int]:
        total, observations = 0.0, 0
        for user in self.user[rows].unique().tolist():
            mine = self.positive[rows][self.user[rows] == user]
            new = torch.ones(self.n_items, dtype=torch.bool)
            new[self.trained.row(user)] = new[mine] = False
            others = new.nonzero()[:, 0]
            distinct = torch.cat([mine, others])
            logits = model.score(torch.tensor([user]), distinct[None])[0].double()
            of_mine, of_others = logits.split([len(mine), len(others)])
            for part in of_mine.split(max(1, AT_ONCE // self.n_items)):
                choices = torch.cat([part[:, None], of_others.expand(len(part), -1)], dim=1)
                found = model.likelihood.log_likelihood(choices)
                total, observations = total - float(found.sum()), observations + found.numel()
        return total, observations
