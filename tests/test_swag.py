"""A posterior over all weights: its moments, its draws, and that the model stays what it is."""

import pytest
import torch

import bayes_recsys as br
from bayes_recsys.inference import Snapshots


@pytest.fixture(scope="module")
def split():
    return br.data.split(br.data.synthetic(n_users=40, n_items=60, seed=0).interactions)


def fitted(split, scores=br.Point(), epochs=6):
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split), embedding_dim=4, user_scores=scores)
    seen, each = Snapshots(most=4), []

    def note(state):
        if not state.position:
            each.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))

    training = br.Training(max_epochs=epochs, patience=epochs, learning_rate=1e-2)
    br.fit(model, split, training=training, callbacks=[seen, note], progress=False)
    return model, seen.weights, torch.stack(each)


def test_snapshots_are_the_weights_of_the_last_epochs(split):
    _, weights, each = fitted(split)
    torch.testing.assert_close(weights, each[-4:])
    with pytest.raises(ValueError, match="0 epoch"):
        _ = Snapshots().weights


def test_draws_have_the_moments_that_the_paper_says(split):
    model, _, _ = fitted(split, epochs=2)
    size = sum(p.numel() for p in model.parameters())
    torch.manual_seed(1)
    weights = torch.randn(5, size)
    swag = br.SWAG(model, weights, draws=6000, scale=0.5)
    some = torch.tensor([0, 7, 100])
    drawn = torch.stack([one[some] for one in swag.weights_drawn()])
    about = weights[:, some] - weights[:, some].mean(0)
    expected = 0.5 * (about.square().mean(0).diag() + about.T @ about / 4) / 2
    torch.testing.assert_close(drawn.mean(0), weights[:, some].mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), expected, atol=0.03, rtol=0)


@pytest.mark.parametrize("scores", [br.Point(), br.Scores()], ids=["point", "random"])
def test_predicts_ranks_and_leaves_the_model_as_it_is(scores, split):
    model, weights, _ = fitted(split, scores)
    before = [p.detach().clone() for p in model.parameters()]
    swag = br.SWAG(model, weights, draws=8)
    user, item = torch.tensor([3, 4]), torch.arange(60).expand(2, -1)
    logits = swag.draw_logits(user, item)
    assert torch.equal(logits, swag.draw_logits(user, item))
    assert (logits.std(0) > 0).all()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    expected = logits.double().sigmoid().mean(0).log()
    if isinstance(scores, br.Point):
        torch.testing.assert_close(swag.score(user, item), expected, atol=1e-6, rtol=1e-5)
    assert br.evaluate(swag, split).per_user["ndcg@10"].mean() > 0
    assert br.predictive_nll(swag, split).notna().all()
    assert (br.recommend(swag, users=["3"], k=3)["sd"] > 0).all()


def test_without_a_probability_logits_are_averaged(split):
    model, weights, _ = fitted(split)
    model.likelihood = br.BradleyTerry()
    swag = br.SWAG(model, weights, draws=3)
    user, item = torch.tensor([3]), torch.arange(9)[None]
    expected = swag.draw_logits(user, item).double().mean(0)
    torch.testing.assert_close(swag.score(user, item), expected, atol=1e-6, rtol=1e-5)


def test_bad_arguments_are_named(split):
    model, weights, _ = fitted(split, epochs=2)
    for bad in (weights[:, :-1], weights[0], None):
        with pytest.raises(ValueError, match="weights must be Snapshots of this model"):
            br.SWAG(model, bad)
    with pytest.raises(ValueError, match="at least two epochs"):
        br.SWAG(model, weights[:1])
    with pytest.raises(ValueError, match="scale must be a finite number above 0"):
        br.SWAG(model, weights, scale=0.0)
    with pytest.raises(TypeError, match="a model is needed"):
        br.SWAG(br.baselines.Popularity(split), weights)
