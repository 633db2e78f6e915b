"""Where a run stands: interrupted, stopped, kept, resumed, and watched by another metric."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.inference import State

SCORES = br.Scores(br.Weibull("amortised"), scope="interaction")
EACH = br.Monitor(every=1)  # is measured
TRAINING = br.Training(max_epochs=4, learning_rate=1e-2, pairs=300, monitor=EACH, seed=2)


def start(histories, **options):
    torch.manual_seed(0)
    return br.models.BAMF(histories, embedding_dim=8, dropout=0.2, item_scores=SCORES, **options)


def fit(histories, split, training=TRAINING, **options):
    objective = br.Objective(br.Bernoulli(2), kl_weight=br.LinearWarmup(0.1, epochs=3))
    return br.fit(start(histories), split, objective, training, progress=False, **options)


def same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Stops:
    """Ends a run at an epoch (from 1) and a position in it, and keeps its state of then."""

    def __init__(self, epoch, position, how="asked"):
        self.at, self.how, self.kept = (epoch - 1, position), how, None

    def __call__(self, state):
        if (state.epoch, state.position) == self.at:
            self.kept = through_a_file(state.state_dict())
            if self.how is KeyboardInterrupt:
                raise KeyboardInterrupt
            state.stopped = self.how


@pytest.fixture(scope="module")
def straight(histories, split):
    return fit(histories, split)


@pytest.mark.parametrize("how", ["asked", KeyboardInterrupt])
@pytest.mark.parametrize(("epoch", "position"), [(1, 1), (2, 3), (3, 0), (4, 2)])
def test_a_resumed_run_is_the_uninterrupted_one(how, epoch, position, histories, split, straight):
    """Bit for bit, from weights that start elsewhere, whatever the caller's random state."""
    stops = Stops(epoch, position, how)
    fit(histories, split, callbacks=[stops])
    torch.manual_seed(99)
    model = br.models.BAMF(histories, embedding_dim=8, dropout=0.2, item_scores=SCORES)
    objective = br.Objective(br.Bernoulli(2), kl_weight=br.LinearWarmup(0.1, epochs=3))
    resumed = br.fit(model, split, objective, TRAINING, resume=stops.kept, progress=False)
    assert same_weights(resumed.model, straight.model)
    columns = ["epoch", "loss", "held_out_nll", "ndcg@10"]
    pd.testing.assert_frame_equal(
        resumed.history[columns], straight.history[columns], check_exact=True
    )
    assert (resumed.best_epoch, resumed.stopped) == (straight.best_epoch, "epochs")


def test_a_run_of_which_all_is_kept_can_be_made_longer(histories, split, straight):
    last = Stops(TRAINING.max_epochs + 1, 0)
    short = fit(histories, split, callbacks=[last])
    assert short.stopped == "asked"
    longer = replace(TRAINING, max_epochs=5)
    resumed = fit(histories, split, longer, resume=last.kept)
    assert len(resumed.history) == 5
    assert same_weights(resumed.model, fit(histories, split, longer).model)


def test_the_state_of_another_model_is_refused(histories, split):
    stops = Stops(1, 1)
    fit(histories, split, callbacks=[stops])
    torch.manual_seed(0)
    for other in (br.models.GMF(histories), br.models.BAMF(histories, embedding_dim=9)):
        with pytest.raises((RuntimeError, ValueError), match=r"state_dict|size mismatch|parameter"):
            br.fit(other, split, training=TRAINING, resume=stops.kept, progress=False)


class TestEnds:
    def test_ctrl_c_keeps_the_best_so_far(self, histories, split):
        two = replace(TRAINING, max_epochs=2)
        expected = fit(histories, split, two)
        result = fit(histories, split, callbacks=[Stops(3, 2, KeyboardInterrupt)])
        assert result.stopped == "interrupted"
        assert len(result.history) == 2
        assert same_weights(result.model, expected.model)
        assert not result.model.training

    def test_before_anything_is_measured_the_averaged_weights_are_kept(self, histories, split):
        averages = []

        def stop(state):
            if state.epoch == 1 and state.position == 2:
                averages.extend(one.clone() for one in state.averaged.weights)
                raise KeyboardInterrupt

        training = replace(TRAINING, monitor=br.Monitor(every=3))
        model = fit(histories, split, training, callbacks=[stop]).model
        assert all(torch.equal(p, a) for p, a in zip(model.parameters(), averages, strict=True))

    def test_a_callback_stops_within_an_epoch(self, histories, split):
        calls = []

        def stop(state):
            calls.append((state.epoch, state.position))
            if calls[-1] == (1, 2):
                state.stopped = "enough"

        result = fit(histories, split, callbacks=[stop])
        assert (result.stopped, len(result.history)) == ("enough", 1)
        assert calls[-1] == (1, 2), "and nothing comes after"

    def test_a_callback_stops_after_an_epoch(self, histories, split):
        result = fit(histories, split, callbacks=[Stops(3, 0, "enough")])
        assert (result.stopped, len(result.history)) == ("enough", 2)

    def test_nothing_finished_is_the_weights_as_they_are(self, histories, split):
        result = fit(histories, split, callbacks=[Stops(1, 1)])
        assert (result.best_epoch, len(result.history)) == (0, 0)
        assert list(result.history) == [
            "epoch",
            "loss",
            "held_out_nll",
            "ndcg@10",
            "measuring",
            "seconds",
        ]
        assert not same_weights(result.model, start(histories))

    def test_a_callback_sees_every_batch_and_every_epoch(self, histories, split):
        seen = []
        fit(histories, split, callbacks=[lambda s: seen.append((s.epoch, s.position, s.total))])
        ends = [n for n, (_, position, _) in enumerate(seen) if position == 0]
        assert [seen[n][0] for n in ends] == [1, 2, 3, 4]
        steps = ends[0]
        assert steps > 3
        assert [position for _, position, _ in seen] == [*range(1, steps + 1), 0] * 4
        totals = [total for _, position, total in seen if position]
        assert all(later > 0 for later in np.diff(totals[:steps]))


class TestMonitor:
    def test_another_metric_and_part_decide(self, histories, split):
        monitor = br.Monitor("recall", k=20, every=1)
        training = br.Training(max_epochs=6, learning_rate=1e-2, monitor=monitor, patience=9)
        result = fit(histories, split, training)
        column = result.history["recall@20"]
        assert list(result.history) == [
            "epoch",
            "loss",
            "held_out_nll",
            "recall@20",
            "measuring",
            "seconds",
        ]
        assert result.best_epoch == column.argmax() + 1
        again = br.evaluate(result.model, split, part="validation", ks=(20,)).per_user["recall@20"]
        assert again.mean() == pytest.approx(column.max())

    def test_the_loss_decides_the_smaller_the_better(self, histories, split):
        monitor = br.Monitor("nll", every=1)
        training = br.Training(max_epochs=30, learning_rate=3e-2, monitor=monitor, patience=4)
        result = fit(histories, split, training)
        column = result.history["nll"]
        assert column.tolist() == result.history["held_out_nll"].tolist()
        assert result.stopped == "patience"
        assert result.best_epoch == column.argmin() + 1 < len(column)
        assert monitor.measure(result.model, split, 0) == pytest.approx(column.min(), rel=1e-6)

    def test_only_every_so_often(self, histories, split):
        training = br.Training(max_epochs=7, monitor=br.Monitor(every=3), patience=9)
        result = fit(histories, split, training)
        measured = result.history["ndcg@10"].notna()
        assert result.history["epoch"][measured].tolist() == [3, 6, 7], "and at the end"
        assert (result.history["held_out_nll"].notna() == measured).all()
        assert result.best_epoch in (3, 6, 7)

    def test_without_a_validation_part_there_is_no_loss_on_it(self, histories, split):
        split = replace(split, validation=split.validation[:0])
        training = replace(TRAINING, monitor=br.Monitor.as_published())
        assert fit(histories, split, training).history["held_out_nll"].isna().all()

    def test_patience_is_counted_in_epochs(self, histories, split):
        training = br.Training(
            max_epochs=20, learning_rate=1e-12, monitor=br.Monitor(every=2), patience=3
        )
        result = fit(histories, split, training)
        assert (result.stopped, result.best_epoch, len(result.history)) == ("patience", 2, 6)

    def test_no_validation_is_needed_where_another_part_is_watched(self, synthetic):
        split = br.data.split(synthetic.interactions, ratio=(8, 0, 2))
        with pytest.raises(ValueError, match="the split has no validation item to stop early by"):
            br.Monitor().check(split)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"metric": "auc"}, "metric must be 'hr', 'ndcg'"),
            ({"k": 0}, "k must be a whole number of at least 1"),
            ({"every": 0.5}, "every must be a whole number of at least 1"),
            ({"part": "train"}, "part must be"),
            ({"part": "test"}, "would choose the weights by what they are judged by"),
            ({"protocol": "half"}, "protocol must be 'full' or 'sampled'"),
        ],
    )
    def test_bad_arguments_are_named(self, options, message):
        with pytest.raises(ValueError, match=message):
            br.Monitor(**options)


def test_a_state_by_itself(histories):
    model = br.models.GMF(histories)
    state = State(model, torch.optim.AdamW(model.parameters()))
    state.step(2.0, 0.5)
    state.step(4.0, 0.5)
    assert (state.position, state.total, state.epoch) == (2, 6.0, 0)
    state.finish_epoch({"hr@5": 0.3}, 0.3)
    kept = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        next(model.parameters()).zero_()
    for value in (float("nan"), 0.2):
        state.step(1.0, 0.1)
        state.finish_epoch({"hr@5": value}, value)
    assert state.rows[0] == {"epoch": 1, "loss": 3.0, "hr@5": 0.3, "seconds": 1.0}
    assert np.isnan(state.rows[1]["hr@5"])
    assert (state.epoch, state.best, state.best_epoch) == (3, 0.3, 1)
    state.restore_best()
    assert all(torch.equal(p, k) for p, k in zip(model.parameters(), kept, strict=True))


def test_a_state_that_was_kept_stays_as_it_was(histories, split, straight):
    """Without a file too: a copy, not a view of what is trained on."""
    kept = {}

    def keep(state):
        if (state.epoch, state.position) == (1, 2):
            kept.update(state.state_dict())

    fit(histories, split, callbacks=[keep])
    assert same_weights(fit(histories, split, resume=kept).model, straight.model)


def test_what_is_no_state_of_this_run_is_refused(histories, split):
    with pytest.raises(TypeError, match="resume must be what"):
        fit(histories, split, resume="state.pt")
    stops = Stops(3, 1)
    fit(histories, split, callbacks=[stops])
    with pytest.raises(ValueError, match="one averages its weights"):
        fit(histories, split, replace(TRAINING, average=0.0), resume=stops.kept)
    other = br.Training(max_epochs=4, monitor=br.Monitor("recall", k=20))
    with pytest.raises(ValueError, match="not monitored by recall@20"):
        fit(histories, split, other, resume=stops.kept)
