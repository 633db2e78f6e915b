"""The deterministic models against loops over their papers' formulas."""

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import bayes_recsys as br
from tests.conftest import make
from tests.reference import neighbours


def compare(model, histories, reference):
    """For two users; the targets are in the history, in the test part, and unseen."""
    w = {k: v.double().numpy() for k, v in model.state_dict().items()}
    for user in (0, 7):
        history = histories.history.row(user).tolist()
        for item in (history[0], history[-1], 11, 12):
            audience = histories.audience.row(item).tolist()
            ours = model.score(torch.tensor([user]), torch.tensor([[item]])).item()
            theirs = reference(w, user, item, history, audience)
            assert ours == pytest.approx(theirs, rel=2e-4, abs=1e-5)


@pytest.mark.parametrize("name", neighbours.PARTS)
def test_ensembles_follow_the_formulas(name, histories):
    model = make(getattr(br.models, name), histories, size=0.2)
    compare(
        model, histories,
        lambda w, user, item, history, audience: neighbours.ensemble(
            name, w, user, item, history, audience
        ),
    )  # fmt: skip


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_fism_follows_the_formula(alpha, histories):
    model = make(br.models.FISM, histories, alpha=alpha)
    compare(
        model, histories,
        lambda w, user, item, history, audience: neighbours.fism(w, alpha, user, item, history),
    )  # fmt: skip


@pytest.mark.parametrize("energy", ["prod", "concat"])
def test_nais_follows_the_formula(energy, histories):
    model = make(br.models.NAIS, histories, energy=energy, beta=0.6)
    compare(
        model, histories,
        lambda w, user, item, history, audience: neighbours.nais(w, energy, 0.6, item, history),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["Affection", "Association", "DRNet"])
def test_drnet_follows_the_formulas(name, histories):
    options = {} if name == "Affection" else {"beta": 0.7}
    model = make(getattr(br.models, name), histories, **options)
    compare(
        model, histories,
        lambda w, user, item, history, audience: neighbours.drnet(
            name, w, 0.7, user, item, history
        ),
    )  # fmt: skip


def test_delf_follows_the_formulas(histories):
    compare(make(br.models.DELF, histories), histories, neighbours.delf)


def test_delf_leaves_out_a_user_of_any_weight(histories):
    """One user may be almost all of an audience; what is left must not be rounding error."""
    audience = br.models.delf.Audience(histories, 8)
    with torch.no_grad():
        audience.query.mul_(1e4)
        audience.key.weight.normal_()
        batch = br.data.candidates(histories, torch.arange(60), torch.arange(80).expand(60, -1))
        pooled = audience(batch)
        energy = (audience.key(audience.user.weight).tanh() @ audience.query).double()
        assert energy.max() - energy.min() > 100
        for user in range(60):
            for item in range(80):
                rest = [v for v in histories.audience.row(item).tolist() if v != user]
                expected = torch.zeros(8, dtype=torch.double)
                if rest:
                    weight = energy[rest].softmax(0)
                    expected = weight @ audience.user.weight[rest].double()
                assert (pooled[user, item] - expected).abs().max() < 1e-5


def test_the_literal_formula_of_dacr_leaks_the_target(histories):
    """With ``exclude_target=False`` the model sees whether the pair was observed."""
    row = histories.history.row(3).tolist()
    user, item = torch.tensor([3]), torch.tensor([[row[0]]])
    for literal in (False, True):
        model = make(br.models.ARL, histories, exclude_target=not literal)
        with torch.no_grad():
            p, q = model.parts[0].matrix(br.data.candidates(histories, user, item))
            w = model.parts[0].matrix
            rows = w.of_row.weight[[j for j in row if literal or j != row[0]]].sum(0)
            fans = [v for v in histories.audience.row(row[0]).tolist() if literal or v != 3]
            np.testing.assert_allclose(p[0, 0], rows, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                q[0, 0], w.of_column.weight[fans].sum(0), rtol=1e-4, atol=1e-5
            )


def test_audience_is_the_training_part_turned_round(split, histories):
    train = split.items_by_user("train")
    pairs = set(zip(train.rows.tolist(), train.values.tolist(), strict=True))
    turned = histories.audience
    assert {
        (u, i) for i, u in zip(turned.rows.tolist(), turned.values.tolist(), strict=True)
    } == pairs


def test_a_model_without_latent_scores_is_maximum_likelihood(histories, batch):
    """Guide-free: the ELBO is the negative log likelihood, whatever the ELBO."""
    for name in (*neighbours.PARTS, "FISM", "NAIS", "DELF"):
        model = make(getattr(br.models, name), histories)
        assert model.guide(batch) == {}
        x = model.expected_logits(batch)
        nll = torch.nn.functional.binary_cross_entropy_with_logits(x, batch.label, reduction="none")
        for elbo in (Trace_ELBO, TraceMeanField_ELBO):
            loss = elbo()(model, model.guide)(batch)
            torch.testing.assert_close(loss, (nll * batch.mask).sum() * batch.scale)
