"""What the documentation claims of real data; minutes each."""

import pytest
import torch

import bayes_recsys as br

pytestmark = pytest.mark.slow


def ndcg(interactions, protocol, **options):
    split = br.data.split(interactions, seed=0)
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split))
    br.fit(model, split, seed=0, progress=False, **options)
    return br.evaluate(model, split, protocol=protocol).per_user["ndcg@10"].mean()


def test_defaults_beat_popularity_clearly(latest_small):
    """Popularity has 0.375."""
    assert ndcg(latest_small, "sampled") > 0.46


def test_the_leak_reproduces_the_published_figure(latest_small):
    """0.540, by sparing held-out positives as training negatives."""
    assert ndcg(latest_small, "sampled", negatives_exclude="all") > 0.53
