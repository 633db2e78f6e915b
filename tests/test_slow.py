"""What the documentation claims of real data; minutes each."""

import pytest
import torch

import bayes_recsys as br
from tests.cases import PUBLISHED_BAMF

pytestmark = pytest.mark.slow


def fitted(interactions, objective=br.Objective(), training=br.Training(), **options):
    split = br.data.split(interactions, seed=0)
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split), **options)
    br.fit(model, split, objective, training, progress=False)
    return model, split


def ndcg(model, split):
    return br.evaluate(model, split, protocol="sampled").per_user["ndcg@10"].mean()


def test_the_default_ranks_and_its_posterior_is_informative(latest_small):
    """Popularity has 0.375. Weight 1, the ELBO proper."""
    model, split = fitted(latest_small)
    assert ndcg(model, split) > 0.47
    scores = br.score_summary(model).loc["user_attention"]
    assert scores["contraction"] > 0.2
    assert scores["effective"] - scores["prior_effective"] > 0.05


def test_the_leak_reproduces_the_published_figure(latest_small):
    """0.540, by sparing held-out positives as training negatives, with the published scores."""
    objective = br.Objective(kl_weight=0.01, kl_reduction="mean")
    training = br.Training.as_published(negatives_exclude="all", patience=10)
    published = fitted(latest_small, objective, training, **PUBLISHED_BAMF)
    assert ndcg(*published) > 0.53
