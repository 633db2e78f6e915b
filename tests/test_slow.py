"""What the documentation claims of real data; minutes each."""

import pytest
import torch

import bayes_recsys as br
from tests.cases import PUBLISHED_BAMF

pytestmark = pytest.mark.slow
FIT_OPTIONS = ("kl_weight", "kl_reduction", "weight_decay", "negatives_exclude")


def fitted(interactions, seed=0, **options):
    split = br.data.split(interactions, seed=seed)
    torch.manual_seed(seed)
    fit_options = {k: options.pop(k) for k in list(options) if k in FIT_OPTIONS}
    model = br.models.BAMF(br.data.histories(split), **options)
    br.fit(model, split, seed=seed, progress=False, **fit_options)
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
    published = fitted(
        latest_small, **PUBLISHED_BAMF, kl_weight=0.01, kl_reduction="mean", weight_decay=0.0,
        negatives_exclude="all",
    )  # fmt: skip
    assert ndcg(*published) > 0.53
