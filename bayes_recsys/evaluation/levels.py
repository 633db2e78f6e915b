"""How often a user says yes, and how much a logit means with them: two latents a user, of a population."""

from __future__ import annotations

import math

import pandas as pd
import torch
from torch import Tensor

from bayes_recsys.arguments import check_kind, check_whole
from bayes_recsys.data.splits import Split
from bayes_recsys.evaluation.lapsing import STEEPEST, TENSORS, LapsingPairs, with_lapse
from bayes_recsys.evaluation.population import Population, root
from bayes_recsys.evaluation.protocols import check_part
from bayes_recsys.likelihoods import Bernoulli, Likelihood
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.predictive import Predictive, as_predictive
from bayes_recsys.streams import torch_seed

# Draws of a user's levels, at least.
LEAST = 50


class UserLevels(Predictive):
    """A predictive whose log-odds mean what they did with each user's held-out pairs: a choice has the probability
    ``(1 - λ) σ(a_u + exp(c_u) x)``, with ``(a_u, c_u) ~ Normal(μ + γ l_u, Σ)``.

    What a model is trained on cannot tell it how sure to be: there it is right too often. Of the validation part each user
    has a few pairs; the population, learned from all of them, says how far these few are to be trusted (empirical
    Bayes), and what to expect of a user who has none but ``l_u``, the logarithm of how many items were chosen in training,
    less its mean. The draws of the predictive are marginalised (MacKay, "The Evidence Framework Applied to Classification
    Networks", 1992; Platt, "Probabilistic Outputs for Support Vector Machines", 1999, for one level of all users); a user's
    posterior is normal, its mean and covariance by quadrature about the mode.

    The lapse ``λ`` is one number: what a user is sure to like is not always chosen, were it only that it was not seen, so
    that no log-odds make a choice certain (Wichmann and Hill, "The psychometric function: I", 2001). All is found by EM in
    leaps (Varadhan and Roland, "Simple and Globally Convergent Methods for Accelerating the Convergence of Any EM
    Algorithm", 2008).

    Lists stay as they are, and so does ``score``: ``exp(c_u)`` is positive, so that no draw orders items otherwise (the mean
    of the draws' probabilities may). The standard deviations of :func:`~bayes_recsys.posterior.recommendations.recommend`
    are those of log-odds with levels.

    Args:
        predictive: A ``Posterior``, ``DeepEnsemble``, .., or a model. Whatever it was fitted with: also what only ranks
            (``Softmax``, ``BradleyTerry``) has probabilities with levels.
        split: The split of its histories.
        part: ``"validation"`` or ``"leave_one_out"``.
        negatives: Beside each held-out positive, at least 1. ``None``: as many as the model was trained with; 4 where that
            were all items.
        seed: Seed of the pairs' negatives, and of the draws of levels.

    Attributes:
        population: The :class:`~bayes_recsys.evaluation.population.Population`, with ``μ``, ``γ``, ``Σ`` and ``λ``.
        pairs: How many each user has, ``[M]``.

    Raises:
        TypeError: It has no draws, or the split is none.
        ValueError: The part is unknown or empty, or is the test part; the model is of another split; ``negatives`` is below 1
            or more than there are items, the seed below 0; or a logit is NaN or infinite.
        MemoryError: The logits of the part's pairs do not fit, ``draws`` of them each.

    Warns:
        ConvergenceWarning: The population is not found: the pairs do not tell it.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=30, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> levels = UserLevels(br.Posterior(model, draws=5), split)
        >>> levels.table().columns.tolist()
        ['level', 'level sd', 'slope', 'log slope sd', 'pairs']
        >>> levels.draw_logits(torch.tensor([0]), torch.tensor([[1, 2]])).shape
        torch.Size([50, 1, 2])
    """

    def __init__(
        self,
        predictive: Predictive | Model,
        split: Split,
        *,
        part: str = "validation",
        negatives: int | None = None,
        seed: int = 0,
    ):
        self.predictive = as_predictive(predictive)
        check_kind(split, Split, "a split (data.split(..))")
        check_whole("seed", seed, least=0)
        check_part(part)
        if part == "test":
            raise ValueError("part='test' would fit levels to what they are judged by")
        self.model, self.seed = self.predictive.model, seed
        negatives = self.predictive.likelihood.negatives if negatives is None else negatives
        self._likelihood = Bernoulli() if negatives is None else Bernoulli(negatives)
        pairs = LapsingPairs.of(self.predictive, split, part, self.likelihood.negatives, seed)
        self.pairs = pairs.count
        length = split.items_by_user("train").lengths.double().clamp(min=1.0).log()
        self.population = Population(pairs, length - length.mean())

    @property
    def likelihood(self) -> Likelihood:
        """``Bernoulli``, of a positive beside so many negatives."""
        return self._likelihood

    def draw_logits(self, user: Tensor, item: Tensor) -> Tensor:
        """Logits ``[S, G, C]``, the same in every call: of each of the predictive's draws with as many levels that there are 50
        at least."""
        logits = self.predictive.draw_logits(user, item)
        times = math.ceil(LEAST / len(logits))
        size = 8.0 * TENSORS * times * logits.numel()
        check_memory(size, f"{times * len(logits):,} draws of logits", "how many users and items")
        # Of float32, logits near the most that a lapse allows would be the same.
        logits = logits.double().repeat_interleave(times, dim=0)
        levels = []
        for one in user.tolist():
            random = torch.Generator().manual_seed(torch_seed("levels", self.seed, one))
            noise = torch.randn(len(logits), 2, generator=random, dtype=torch.double)
            levels.append(
                self.population.levels[one] + noise @ root(self.population.spread[one]).mT
            )
        drawn = torch.stack(levels, dim=1)[..., None, :]  # [S, G, 1, 2]
        return with_lapse(
            drawn[..., 0] + drawn[..., 1].clamp(max=STEEPEST).exp() * logits, self.population.lapse
        )

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """The predictive's own: of no draw do levels change the order."""
        return self.predictive.score(user, item)

    def table(self) -> pd.DataFrame:
        """By user id: posterior mean of ``level``, the ``slope`` at that of its logarithm, standard deviations of the level and
        of the logarithm of the slope, and how many ``pairs`` told them."""
        sd = self.population.spread.diagonal(dim1=-2, dim2=-1).sqrt().numpy()
        columns = {
            "level": self.population.levels[:, 0].numpy(),
            "level sd": sd[:, 0],
            "slope": self.population.levels[:, 1].exp().numpy(),
            "log slope sd": sd[:, 1],
            "pairs": self.pairs.numpy(),
        }
        index = pd.Index(self.histories.user_ids.astype(str), name="user")
        return pd.DataFrame(columns, index)
