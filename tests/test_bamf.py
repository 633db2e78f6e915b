"""BAMF's logits against loops that follow its formulas."""

import numpy as np
import pytest
import torch

import bayes_recsys as br
from tests.cases import PUBLISHED
from tests.conftest import make
from tests.reference import bamf


@pytest.mark.parametrize("energy", br.nn.ENERGIES)
@pytest.mark.parametrize("combine", br.nn.COMBINES)
@pytest.mark.parametrize("item_table", ["separate", "shared"])
def test_bamf_logits_follow_the_formulas(energy, combine, item_table, histories):
    options = {"energy": energy, "combine": combine, "item_table": item_table}
    options |= {"beta": 0.7, "tau": 1.5, "values": "shared", "strength": "user", "history": "user"}
    scores = {"user_scores": PUBLISHED, "item_scores": PUBLISHED}
    compare_with_loops(histories, options, scores, {"user": 0.1, "item": 0.1})


@pytest.mark.parametrize("energy", br.nn.ENERGIES)
@pytest.mark.parametrize(
    ("history", "strength", "values"),
    [("both", "user", "shared"), ("item", "both", "separate"), ("both", "user", "separate")],
)
def test_bamf_over_audiences_follows_the_formulas(energy, history, strength, values, histories):
    options = {
        "energy": energy,
        "combine": "att",
        "item_table": "separate",
        "beta": 0.7,
        "tau": 1.5,
    }
    options |= {"values": values, "strength": strength, "history": history}
    scores = {"user_scores": PUBLISHED, "item_scores": PUBLISHED}
    compare_with_loops(histories, options, scores, {"user": 0.1, "item": 0.1})


def test_bamf_beyond_the_paper_follows_its_formulas(histories):
    options = {"energy": "dot", "combine": "context", "item_table": "separate", "history": "user"}
    options |= {"beta": 0.7, "tau": 1.5, "values": "separate", "strength": "both"}
    scores = {"user_scores": br.Scores(br.LogNormal(0.6)), "item_scores": br.Point()}
    compare_with_loops(histories, options, scores, {"user": 0.6, "item": 0.0})


def compare_with_loops(histories, options, scores, sd):
    model = make(br.models.BAMF, histories, embedding_dim=5, hidden=3, **options, **scores)
    weights = {k: v.numpy() for k, v in model.state_dict().items()}

    def moment(side, log_mean, tau):  # of a log-normal of this sd with mean exp(log_mean)
        variance = sd[side] ** 2
        return np.exp(tau * (log_mean - 0.5 * variance) + 0.5 * tau**2 * variance)

    for user in (0, 7):
        history = histories.history.row(user).tolist()
        for item in (history[0], 11, 12):
            ours = model.score(torch.tensor([user]), torch.tensor([[item]])).item()
            audience = histories.audience.row(item).tolist()
            theirs = bamf.logit(weights, options, user, item, history, audience, moment)
            assert ours == pytest.approx(theirs, rel=2e-4, abs=1e-5)
