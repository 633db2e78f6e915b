"""The loss on held-out choices against loops, and the line that a training prints."""

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.evaluation.held_out import HeldOutLoss
from bayes_recsys.likelihoods import Likelihood
from tests.conftest import make


class OverAllItems(Likelihood):
    """A softmax over what is new to the user."""

    def __init__(self):
        super().__init__(None)

    def observe(self, logits, batch):
        raise NotImplementedError

    def log_likelihood(self, logits):
        return logits.log_softmax(-1)[..., :1]


@pytest.mark.parametrize("likelihood", [br.Bernoulli(3), br.BradleyTerry(2), OverAllItems()])
@pytest.mark.parametrize("at_once", [1, 700, 500_000])
def test_it_is_the_mean_over_observations(likelihood, at_once, split, histories, monkeypatch):
    """One choice after the other, whatever is scored together."""
    monkeypatch.setattr("bayes_recsys.evaluation.held_out.AT_ONCE", at_once)
    model = make(br.models.BAMF, histories)
    model.likelihood = likelihood
    held_out = HeldOutLoss(split, likelihood.negatives)
    losses = []
    positives, trained = split.items_by_user("validation"), split.items_by_user("train")
    for row, (user, item) in enumerate(zip(positives.rows, positives.values, strict=True)):
        chosen = positives.row(int(user)).tolist()
        known = {*chosen, *trained.row(int(user)).tolist()}
        if likelihood.negatives is None:
            candidates = [int(item), *(i for i in range(histories.n_items) if i not in known)]
        else:
            candidates = held_out.item[row].tolist()
            assert candidates[0] == item
            assert not set(candidates[1:]) & set(trained.row(int(user)).tolist())
        x = model.score(user[None], torch.tensor([candidates]))[0].double().numpy()
        if isinstance(likelihood, br.Bernoulli):
            losses += [np.log1p(np.exp(-x[0])), *np.log1p(np.exp(x[1:]))]
        elif isinstance(likelihood, br.BradleyTerry):
            losses += list(np.log1p(np.exp(x[1:] - x[0])))
        else:
            losses.append(np.log(np.exp(x).sum()) - x[0])
    assert held_out.measure(model) == pytest.approx(np.mean(losses), rel=1e-5)


def test_negatives_are_the_same_for_all(split):
    assert torch.equal(HeldOutLoss(split, 4).item, HeldOutLoss(split, 4).item)
    other = HeldOutLoss(split, 4, "leave_one_out")
    assert len(other.item) == len(split.leave_one_out)


def test_each_epoch_has_its_line(split, histories, capsys):
    training = br.Training(
        max_epochs=12, patience=3, learning_rate=3e-2, average=0.0, monitor=br.Monitor(every=1)
    )
    fit = br.fit(br.models.BAMF(histories), split, training=training)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(fit.history)
    for line, row in zip(lines, fit.history.to_dict("records"), strict=True):
        assert line.startswith(f"epoch {row['epoch']:3d}/12  loss {row['loss']:.4f}")
        assert f"held-out nll {row['held_out_nll']:.4f}  ndcg@10 {row['ndcg@10']:.4f}" in line
        assert " s measuring" in line
    assert "(best)" in lines[0]
    assert "ends in 1" in lines[-2]
