"""What Pyro does with a model by itself: Predictive, SVI, RenyiELBO and pictures, for every model."""

from dataclasses import replace

import pyro
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Predictive, RenyiELBO, Trace_ELBO
from pyro.optim import Adam

import bayes_recsys as br
from tests.cases import CASES
from tests.conftest import batches, make


@pytest.mark.parametrize(("kind", "options"), CASES)
class TestEveryModel:
    @pytest.mark.parametrize("source", ["posterior", "prior"])
    def test_predictive_draws_labels_and_hides_padding(self, kind, options, source, split):
        histories = br.data.histories(split)
        model = make(kind, histories, **options)
        batch = next(iter(batches(split, histories).epoch(1)))
        batch = replace(batch, mask=batch.mask & (torch.rand(batch.mask.shape) < 0.8))
        drawn = br.inference.predictive(model, batch, draws=100, source=source)
        label = drawn.pop("label")
        assert (label.isnan() == ~batch.mask).all()
        assert set(label[label.isfinite()].tolist()) <= {0.0, 1.0}
        if not model.is_random:
            expected = model.expected_logits(batch).sigmoid()[batch.mask]
            assert (label.mean(0)[batch.mask] - expected).abs().max() < 0.25
        for name, site in model.attend(batch).items():
            if site.attention.is_random:
                assert (drawn.pop(name).isnan() == ~site.mask).all()
        assert not drawn

    def test_plain_predictive_and_svi(self, kind, options, split, histories):
        model = make(kind, histories, size=0.2, **options)
        batch = next(iter(batches(split, histories).epoch(1)))
        drawn = Predictive(model.model, guide=model.guide, num_samples=3)(batch)
        assert set(drawn) == {
            "label",
            *poutine.trace(model.guide).get_trace(batch).stochastic_nodes,
        }
        svi = SVI(model.model, model.guide, Adam({"lr": 1e-3}), Trace_ELBO())
        before = [p.detach().clone() for p in model.parameters()]
        assert torch.isfinite(torch.tensor(svi.step(batch)))
        assert any(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
        pyro.clear_param_store()

    @pytest.mark.filterwarnings("ignore:the scores of")
    def test_renyi_through_fit(self, kind, options, split, histories):
        model = kind(histories, **options)
        objective = br.Objective(elbo=RenyiELBO(alpha=0.5, num_particles=2))
        training = br.Training(max_epochs=1, pairs=600)
        fit = br.fit(model, split, objective, training, progress=False)
        assert fit.history["loss"].notna().all()


def test_preferences_are_drawn(split, histories):
    model = make(br.models.BAMF, histories)
    model.likelihood = br.BradleyTerry(2)
    batch = next(iter(batches(split, histories).epoch(1)))
    drawn = br.inference.predictive(model, batch, draws=50)["preference"]
    assert drawn.shape[1:3] == batch.mask.unflatten(-1, (-1, 3)).shape[:2]
    assert 0.2 < drawn.nanmean() < 0.8
    with pytest.raises(ValueError, match="source must be"):
        br.inference.predictive(model, batch, source="guide")
    with pytest.raises(ValueError, match="draws must be"):
        br.inference.predictive(model, batch, draws=0)
