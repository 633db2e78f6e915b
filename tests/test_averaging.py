"""Weights averaged over the steps."""

import numpy as np
import pytest
import torch

import bayes_recsys as br


@pytest.fixture(scope="module")
def split():
    return br.data.split(br.data.synthetic(n_users=40, n_items=60, seed=0).interactions)


def fit(split, epochs=4, average=0.9, **options):
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split), embedding_dim=4)
    training = br.Training(max_epochs=epochs, average=average, patience=100, pairs=64)
    return br.fit(model, split, training=training, progress=False, **options)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_average_is_that_of_a_loop(split):
    steps, at_epoch = [], []

    def note(state):
        if state.position:
            steps.append(weights(state.model))
        else:
            at_epoch.append(len(steps))

    torch.manual_seed(0)
    start = weights(br.models.BAMF(br.data.histories(split), embedding_dim=4))
    ended = fit(split, callbacks=[note])
    mean, kept = start, {}
    for t, step in enumerate(steps):
        decay = min(0.9, (1 + t) / (10 + t))
        mean = decay * mean + (1 - decay) * step
        kept[t + 1] = mean
    best = kept[at_epoch[ended.best_epoch - 1]]
    torch.testing.assert_close(weights(ended.model), best, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(weights(ended.model), steps[at_epoch[ended.best_epoch - 1] - 1])


def test_it_is_the_average_that_is_measured_and_training_goes_on_from_its_own(split):
    with_it, without = fit(split), fit(split, average=0.0)
    np.testing.assert_array_equal(with_it.history["loss"], without.history["loss"])
    assert (with_it.history["held_out_nll"] != without.history["held_out_nll"]).all()
    row = with_it.history.set_index("epoch").loc[with_it.best_epoch]
    held_out = br.evaluation.held_out.HeldOutLoss(split, 4)
    assert held_out.measure(with_it.model) == pytest.approx(row["held_out_nll"], rel=1e-6)


def test_a_run_goes_on_to_the_bit(split, tmp_path):
    whole, keep = fit(split), br.Checkpoint(tmp_path / "run.pt", every=1)

    def stops(state):
        if (state.epoch, state.position) == (2, 3):
            state.stopped = "enough"

    fit(split, checkpoint=keep, callbacks=[stops])
    ended = fit(split, checkpoint=keep)
    assert torch.equal(weights(ended.model), weights(whole.model))
    with pytest.raises(br.inference.CheckpointError, match="average"):
        fit(split, average=0.5, checkpoint=keep)


def test_bad_averages_are_named(split):
    for average in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="average must be"):
            br.Training(average=average)
    with pytest.raises(ValueError, match="average= takes all rows"):
        br.Training(average=0.9, sparse=True)
