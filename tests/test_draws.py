"""Draws of scores, weights and logits."""

import pyro.poutine as poutine
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.nn import simplex
from tests.cases import PUBLISHED_BAMF
from tests.conftest import make


def test_moments_of_draws_are_those_of_the_guide(histories):
    model = make(br.models.BAMF, histories, **PUBLISHED_BAMF)
    user, item = torch.tensor([2, 5]), torch.tensor([[1, 2, 3], [1, 2, 3]])
    draws = br.draw(model, user, item, draws=4000)
    batch = br.data.candidates(histories, user, item)
    site = model.attend(batch)["item_attention"]
    mean = draws.scores["item_attention"].mean(0)
    torch.testing.assert_close(mean[batch.valid], site.guide().mean[batch.valid], rtol=0.02, atol=0)
    prior = br.draw(model, user, item, draws=4000, source="prior").scores["item_attention"]
    log_sd = prior.log().std(0)[batch.valid]
    torch.testing.assert_close(log_sd, torch.ones_like(log_sd), rtol=0.06, atol=0)


def test_logits_follow_from_the_drawn_weights(histories):
    model = make(br.models.BAMF, histories, combine="prod")
    user, item = torch.tensor([2]), torch.tensor([[1, 2, 3]])
    draws = br.draw(model, user, item, draws=5)
    batch = br.data.candidates(histories, user, item)
    with torch.no_grad():
        values = model.history(batch.history)
        assert torch.equal(br.Posterior(model, draws=5).draw_logits(user, item), draws.logits)
        for s in range(5):
            contexts = {k: w[s].nan_to_num() @ values for k, w in draws.weights.items()}
            torch.testing.assert_close(model.logits(batch, contexts), draws.logits[s])


def test_chunks_of_a_deterministic_model_change_only_memory(histories):
    model = make(br.models.BAMF, histories, user_scores=br.Point(), item_scores=br.Point())
    user, item = torch.tensor([2, 3]), torch.tensor([[1, 2], [3, 4]])
    whole, parts = (br.draw(model, user, item, draws=7, at_once=e).logits for e in (10**9, 1))
    assert whole.shape == (7, 2, 2)
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(whole[0], model.score(user, item))


def test_bad_arguments(histories):
    model = make(br.models.BAMF, histories)
    user, item = torch.tensor([2]), torch.tensor([[1]])
    with pytest.raises(ValueError, match="draws"):
        br.draw(model, user, item, draws=0)
    with pytest.raises(ValueError, match="source"):
        br.draw(model, user, item, source="guide")


def test_a_users_scores_are_shared_by_targets(histories):
    scores = br.Scores(br.Gamma("amortised"), br.Weibull(1.5), scope="user")
    model = make(br.models.BAMF, histories, user_scores=scores)
    item = torch.tensor([[3, 4, 5], [6, 7, 8]])
    draws = br.draw(model, torch.tensor([1, 2]), item, draws=7)
    score = draws.scores["user_attention"]
    assert score.shape == (7, 2, draws.codes["user_attention"].shape[1])
    assert "item_attention" not in draws.scores
    for g, c in ((0, 0), (0, 2), (1, 1)):
        valid = draws.valid["user_attention"][g, c]
        weight = simplex(score[:, g].log(), valid, beta=0.5)
        torch.testing.assert_close(
            draws.weights["user_attention"][:, g, c][:, valid], weight[:, valid]
        )


def test_labels_can_be_drawn(histories):
    model = make(br.models.BAMF, histories)
    batch = br.data.candidates(histories, torch.tensor([1, 2]), torch.tensor([[3, 4], [5, 6]]))
    label = poutine.trace(model.model).get_trace(batch).nodes["label"]
    assert not label["is_observed"]
    assert label["value"].shape == (2, 2)
