"""NUTS on models with padding, against numerical integration."""

from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS
from torch.distributions import biject_to

import bayes_recsys as br
from bayes_recsys.inference.exact import pairs_of
from bayes_recsys.scores.present import Present
from bayes_recsys.scores.rows import PositiveScores
from tests.conftest import make


@pytest.fixture(scope="module")
def small():
    data = br.data.synthetic(n_users=12, n_items=30, length=(10, 12), seed=2).interactions
    split = br.data.split(data, seed=0)
    return split, br.data.histories(split)


def integrated(model, batch, entries, high=4.5, points=60):
    """Means and sds of ``ln s`` of two entries by a grid."""
    grid = torch.linspace(-5, high, points)
    x, y = torch.meshgrid(grid, grid, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    # The same user once for each point: rows of a block know nothing of each other.
    n = len(points)
    made = br.data.candidates(model.histories, batch.user.expand(n), batch.item.expand(n, -1))
    made = replace(made, label=batch.label.expand(n, -1), negatives=batch.negatives)
    score = torch.ones(made.history.shape)[:, None]
    score[:, 0, entries] = points.exp()
    with torch.no_grad():
        conditioned = pyro.condition(model.model, {"user_attention": score})
        trace = pyro.poutine.trace(conditioned).get_trace(made)
        trace.compute_log_prob()
    found = (site["log_prob"] for site in trace.nodes.values() if "log_prob" in site)
    of_rows = [one.flatten(1).sum(1) for one in found if one.dim()]  # plates have a number
    log_density = sum(of_rows) + points.sum(1)  # of ln s
    weight = log_density.softmax(0)
    mean = (weight[:, None] * points).sum(0)
    return mean, (weight[:, None] * (points - mean) ** 2).sum(0).sqrt()


def test_it_is_the_posterior_that_a_grid_gives(monkeypatch):
    """A user with two choices; the chains agree too."""
    data = br.data.synthetic(n_users=12, n_items=30, length=(10, 12), seed=2).interactions
    split = br.data.split(data, seed=0)
    model = make(br.models.BAMF, br.data.histories(split, max_length=2), size=1.0, embedding_dim=4)
    batch = pairs_of(model, split, 3, seed=0)
    mean, sd = integrated(model, batch, [0, 1])
    exact = br.inference.nuts(model, split, ["3"], draws=200, warmup=60, chains=2)
    drawn = np.log(exact.posterior["user_attention"])
    over = ("chain", "draw", "user")
    np.testing.assert_allclose(drawn.mean(over), mean, atol=0.2)
    np.testing.assert_allclose(drawn.std(over), sd, rtol=0.15)
    assert not exact.sample_stats["diverging"].any()
    assert abs(drawn[0].mean() - drawn[1].mean()) < 0.15


def test_plain_nuts_moves_what_is_there_alone(small):
    """Users of different histories in one batch: padding stays 1, and nothing diverges."""
    split, histories = small
    model = make(br.models.BAMF, histories, embedding_dim=4)
    batches = br.data.TrainingBatches(
        split.items_by_user("train"), histories, br.data.negative_sampler(split), 4, pairs=600
    )
    batch = max(batches.epoch(1), key=lambda one: int((~one.history_mask).sum()))
    assert (~batch.history_mask).any()
    pyro.set_rng_seed(0)
    mcmc = MCMC(NUTS(model.model), num_samples=30, warmup_steps=40, disable_progbar=True)
    mcmc.run(batch)
    drawn = mcmc.get_samples()["user_attention"]
    assert (drawn[:, ~batch.history_mask[:, None]] == 1).all()
    assert drawn.log().abs().max() < 10
    assert not mcmc.diagnostics()["divergences"]["chain 0"]


KINDS = [
    (br.models.BAMF, {}),
    (br.models.BAMF, {"user_scores": br.Scores(br.Gamma(0.5), br.Weibull(0.5))}),
    (br.models.BAMF, {"history": "both", "item_scores": br.Scores(scope="interaction")}),
    (br.models.NAIS, {"scores": br.Scores(scope="interaction")}),
    (br.models.Association, {"scores": br.Scores()}),
    (br.models.DRNet, {"scores": br.Scores()}),
    (br.models.DELF, {"scores": br.Scores(), "audience_scores": br.Scores(scope="interaction")}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda one: getattr(one, "__name__", ""))
def test_every_model_with_random_scores(kind, options, small):
    split, histories = small
    model = make(kind, histories, **options)
    before = [p.requires_grad for p in model.parameters()]
    state = torch.get_rng_state()
    exact = br.inference.nuts(model, split, ["3", "5"], draws=6, warmup=6, chains=1)
    assert torch.equal(state, torch.get_rng_state())
    assert [p.requires_grad for p in model.parameters()] == before
    again = br.inference.nuts(model, split, ["5"], draws=6, warmup=6, chains=1)
    for name, values in again.posterior.data_vars.items():
        assert np.isfinite(values).any()
        np.testing.assert_array_equal(values, exact["5"].posterior[name])


def test_the_free_entries_are_those_that_are_there():
    present = Present(
        torch.tensor([[[True, True, False]], [[True, False, False]]]), 2, torch.tensor([1])
    )
    transform = biject_to(PositiveScores(present))
    x = torch.randn(3, 5)
    table = transform(x)
    assert table.shape == (3, 2, 2, 3)
    torch.testing.assert_close(transform.inv(table), x)
    assert (table[:, ~present.mask] == 1).all()
    jacobian = torch.autograd.functional.jacobian(lambda one: transform(one)[present.mask], x[0])
    expected = transform.log_abs_det_jacobian(x[0], table[0])
    torch.testing.assert_close(jacobian.slogdet().logabsdet, expected)


def test_what_cannot_be_is_refused(small):
    split, histories = small
    with pytest.raises(ValueError, match="no scores to draw"):
        br.inference.nuts(br.models.FISM(histories), split, ["3"])
    with pytest.raises(ValueError, match="chains must be"):
        br.inference.nuts(br.models.BAMF(histories), split, ["3"], chains=0)
    with pytest.raises(ValueError, match="draws must be a whole number of at least 4"):
        br.inference.nuts(br.models.BAMF(histories), split, ["3"], draws=3)
    with pytest.raises(TypeError, match=r"a split .* is needed, not Histories"):
        br.inference.nuts(br.models.BAMF(histories), histories, ["3"])
    with pytest.raises(KeyError, match="unknown user"):
        br.inference.nuts(br.models.BAMF(histories), split, ["nobody"])
