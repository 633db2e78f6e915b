"""What training tells: to files, to TensorBoard, in a line, and whether it learned."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data import from_frame
from bayes_recsys.inference import CSVLog, TensorBoardLog
from bayes_recsys.inference.progress import Progress
from bayes_recsys.inference.state import State


@pytest.fixture(scope="module")
def split():
    return br.data.split(br.data.synthetic(n_users=30, n_items=60, seed=0).interactions)


def fit(split, epochs=3, **options):
    model = br.models.GMF(br.data.histories(split), embedding_dim=4)
    training = br.Training(max_epochs=epochs, monitor=br.Monitor(every=1))
    return br.fit(model, split, training=training, progress=False, **options)


def test_a_csv_log_has_the_history_after_every_epoch(split, tmp_path):
    lengths = []
    path = tmp_path / "runs" / "epochs.csv"

    def read(state):
        if not state.position:
            lengths.append(len(pd.read_csv(path)))

    ended = fit(split, callbacks=[CSVLog(path), read])
    assert lengths == [1, 2, 3]
    pd.testing.assert_frame_equal(pd.read_csv(path), ended.history, check_like=True)


def test_a_csv_log_of_a_run_gone_on_with_is_that_of_the_whole_run(split, tmp_path):
    keep = br.Checkpoint(tmp_path / "run.pt")
    fit(split, 2, checkpoint=keep)
    ended = fit(split, 4, checkpoint=keep, callbacks=[CSVLog(tmp_path / "epochs.csv")])
    assert pd.read_csv(tmp_path / "epochs.csv")["loss"].to_list() == ended.history["loss"].to_list()


def test_tensorboard_gets_the_history(split, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    ended = fit(split, callbacks=[TensorBoardLog(tmp_path / "run")])
    seen = EventAccumulator(str(tmp_path / "run"))
    seen.Reload()
    assert set(seen.Tags()["scalars"]) == set(ended.history.columns) - {"epoch"}
    for name in ("loss", "held_out_nll", "ndcg@10"):
        events = seen.Scalars(name)
        assert [one.step for one in events] == [1, 2, 3]
        np.testing.assert_allclose([one.value for one in events], ended.history[name], rtol=1e-6)


def test_callbacks_that_are_none_are_refused(split):
    for callbacks in (print, [3]):
        with pytest.raises(TypeError, match="callbacks must be a list of functions of the state"):
            fit(split, callbacks=callbacks)


@pytest.mark.parametrize(
    ("epochs", "best", "seconds", "line"),
    [
        (1, 1, 60.0, "  60.0 s + 2.0 s measuring  at most 1 h 42 min to go"),
        (20, 12, 60.0, "(best)  60.0 s + 2.0 s measuring  ends in 2  at most 1 h 23 min to go"),
        (98, 98, 0.5, "0.5 s + 2.0 s measuring  ends in 2  at most 5 s to go"),
        (100, 100, 5.0, "  5.0 s + 2.0 s measuring"),
    ],
)
def test_the_line_of_an_epoch_says_how_long_it_may_take(epochs, best, seconds, line):
    state = State(None, None)
    state.rows = [
        {
            "epoch": n + 1,
            "loss": 0.5,
            "held_out_nll": math.nan,
            "ndcg@10": 0.1,
            "measuring": 2.0,
            "seconds": seconds,
        }
        for n in range(epochs)
    ]
    state.best_epoch = best
    shown = Progress(br.Training(patience=10))._line(state)
    assert shown.endswith(line.removeprefix("(best)")), shown


class TestLearning:
    """A model of noise is said to have learned nothing."""

    @pytest.mark.parametrize(
        ("likelihood", "base"),
        [
            (br.Bernoulli(4), -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))),
            (br.Bernoulli(1), math.log(2)),
            (br.BradleyTerry(3), math.log(2)),
        ],
    )
    def test_the_loss_to_beat_is_that_of_one_probability(self, likelihood, base, split):
        model = br.models.GMF(br.data.histories(split), embedding_dim=4)
        training = br.Training(max_epochs=1)
        ended = br.fit(model, split, br.Objective(likelihood), training, progress=False)
        assert ended.base_nll == pytest.approx(base, abs=1e-6)

    def test_without_an_epoch_nothing_was_learned(self, split):
        def stop(state):
            state.stopped = "enough"

        ended = fit(split, callbacks=[stop])
        assert ended.best_epoch == 0
        assert not ended.learned

    def test_noise_teaches_nothing_and_taste_something(self):
        """Of four noises two are chance's better way."""
        cases = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            noise = [(u, i) for u in range(60) for i in rng.choice(80, 15, replace=False)]
            noise = from_frame(pd.DataFrame(noise, columns=["user", "item"]), name="noise")
            cases.append((noise, False))
        taste = [
            (u, (u % 4) * 20 + i) for u in range(60) for i in rng.choice(20, 15, replace=False)
        ]
        taste = from_frame(pd.DataFrame(taste, columns=["user", "item"]), name="taste")
        for data, learns in (*cases, (taste, True)):
            torch.manual_seed(0)
            split = br.data.split(data)
            model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
            training = br.Training(max_epochs=60, learning_rate=1e-2)
            assert br.fit(model, split, training=training, progress=False).learned is learns
