"""A step attends once, and never to what is no longer so."""

from dataclasses import replace

import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam

import bayes_recsys as br
from tests.conftest import batches, make

MODELS = {
    "BAMF": (br.models.BAMF, {"item_scores": br.Scores(scope="interaction")}),
    "DRNet": (br.models.DRNet, {"scores": br.Scores(), "dropout": 0.5}),
    "DELF": (br.models.DELF, {"scores": br.Scores()}),
    "GMF": (br.models.GMF, {}),
}


@pytest.fixture
def counted(monkeypatch):
    """Makes a model, and counts what it attends to."""

    def build(model_class, histories, **options):
        calls, attend = [], model_class.attend

        def counting(self, batch):
            calls.append(attend(self, batch))
            return calls[-1]

        monkeypatch.setattr(model_class, "attend", counting)
        return make(model_class, histories, **options), calls

    return build


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_fit_attends_once_a_batch(name, elbo, histories, split, counted):
    model_class, options = MODELS[name]
    model, calls = counted(model_class, histories, **options)
    counts = []

    def count(state):
        if state.position:
            counts.append(len(calls))
        calls.clear()

    training = br.Training(max_epochs=2, pairs=300)
    br.fit(model, split, br.Objective(elbo=elbo()), training, callbacks=[count], progress=False)
    assert len(counts) > 6
    assert counts[1:] == [1] * (len(counts) - 1), "before the first the sites are checked"


def test_plain_svi_attends_once_a_step(histories, batch, counted):
    model, calls = counted(br.models.BAMF, histories)
    with_pyro = SVI(model.model, model.guide, Adam({"lr": 1e-3}), Trace_ELBO())
    for _ in range(3):
        with_pyro.step(batch)
    assert len(calls) == 3


def test_guide_and_model_see_the_same_keys_under_dropout(histories, batch, counted):
    """Energies of the one are those of the other, and its logits follow from its own draws."""
    model, calls = counted(br.models.DRNet, histories, scores=br.Scores(), dropout=0.5)
    model.train()
    torch.manual_seed(0)
    guide = poutine.trace(model.guide).get_trace(batch)
    torch.manual_seed(1)  # what is dropped next is other
    trace = poutine.trace(poutine.replay(model.model, guide)).get_trace(batch)
    (attended,) = calls
    site = attended["attention"]
    assert trace.nodes["attention"]["value"] is guide.nodes["attention"]["value"]
    assert torch.equal(guide.nodes["attention"]["fn"].score.log_mean, site.energy)
    torch.manual_seed(1)
    strengths = {"attention": site.log_power(guide.nodes["attention"]["value"])}
    expected = model.logits_of(batch, attended, strengths)
    assert torch.equal(trace.nodes["_RETURN"]["value"], expected)
    torch.manual_seed(1)
    anew = model.attend(batch)["attention"]
    assert not torch.equal(anew.energy, site.energy), "dropout does matter here"


def test_it_is_good_once(histories, batch, counted):
    model, calls = counted(br.models.BAMF, histories)
    model.guide(batch)
    for times in (1, 2, 3):
        model.model(batch)
        assert len(calls) == times


def loss_of(model, batch):
    return Trace_ELBO().differentiable_loss(model.model, model.guide, batch)


def step_of(make_optimizer):
    def change(model, batch):
        optimizer = make_optimizer(model.parameters())
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        return batch

    return change


def in_place(model, batch):
    with torch.no_grad():
        model.user.weight.add_(1.0)
    return batch


def loaded(model, batch):
    model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})
    return batch


def mode(model, batch):
    model.train(not model.training)
    return batch


CHANGES = {
    "AdamW": step_of(torch.optim.AdamW),
    "AdamW foreach": step_of(lambda p: torch.optim.AdamW(p, foreach=True)),
    "AdamW fused": step_of(lambda p: torch.optim.AdamW(p, fused=True)),
    "SGD": step_of(lambda p: torch.optim.SGD(p, lr=0.1)),
    "SGD fused": step_of(lambda p: torch.optim.SGD(p, lr=0.1, fused=True)),
    "in place": in_place,
    "load_state_dict": loaded,
    "mode": mode,
    "another batch": lambda model, batch: replace(batch),
    "assignment": lambda model, batch: setattr(
        model, "user", torch.nn.Embedding(*model.user.weight.shape)
    ) or batch,
    "data": lambda model, batch: setattr(
        model.user.weight, "data", torch.ones_like(model.user.weight)
    ) or batch,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_stale_is_not_taken(change, histories, batch, counted):
    model, calls = counted(br.models.BAMF, histories, dropout=0.1)
    model.guide(batch)
    batch = CHANGES[change](model, batch)
    model.model(batch)
    assert len(calls) == 2, change
    with torch.no_grad():
        energy = calls[1]["user_attention"].energy
        assert torch.equal(energy, model.attend(batch)["user_attention"].energy)


@pytest.mark.parametrize("first", [True, False])
def test_nor_what_has_no_gradient(first, histories, batch, counted):
    model, calls = counted(br.models.BAMF, histories)
    with torch.set_grad_enabled(first):
        model.guide(batch)
    with torch.set_grad_enabled(not first):
        model.model(batch)
    assert len(calls) == 2


def test_a_new_batch_in_an_old_ones_place_is_another(histories, split, counted):
    """Python gives the address of what is gone to what comes."""
    model, calls = counted(br.models.BAMF, histories)
    for _ in range(30):
        users = torch.randint(histories.n_users, (3,))
        batch = br.data.candidates(histories, users, torch.randint(histories.n_items, (3, 4)))
        model.guide(batch)
        del batch
        batch = br.data.candidates(histories, users.flip(0), torch.zeros(3, 4, dtype=torch.long))
        calls.clear()
        model.model(batch)
        assert len(calls) == 1
        del batch


def test_gradients_are_those_of_attending_twice(histories, split, monkeypatch):
    """Of a model without dropout, to which it makes no difference."""
    batch = next(iter(batches(split, histories).epoch(1)))
    gradients = []
    for twice in (False, True):
        model = make(br.models.BAMF, histories)
        if twice:
            monkeypatch.setattr(model._attended, "taken", lambda model, batch: model.attend(batch))
        torch.manual_seed(0)
        loss_of(model, batch).backward()
        gradients.append([p.grad for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
