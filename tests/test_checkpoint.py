"""Runs that are killed, interrupted and gone on from, against the one that never was."""

import os
import signal
import subprocess
import sys
from functools import partial

import pytest
import torch
from pyro.infer import TraceMeanField_ELBO

import bayes_recsys as br
from bayes_recsys.inference import Checkpoint, CheckpointError
from bayes_recsys.inference.description import described
from tests.test_state import same_weights

SCORES = br.Scores(br.Weibull("amortised"), scope="interaction")
TRAINING = br.Training(max_epochs=4, learning_rate=1e-2, pairs=300, seed=2)
OBJECTIVE = br.Objective(br.Bernoulli(2), kl_weight=br.LinearWarmup(0.1, epochs=3))


def fit(histories, split, *, objective=OBJECTIVE, training=TRAINING, dim=8, **options):
    torch.manual_seed(0)
    model = br.models.BAMF(histories, embedding_dim=dim, dropout=0.2, item_scores=SCORES)
    return br.fit(model, split, objective, training, progress=False, **options)


@pytest.fixture(scope="module")
def straight(histories, split):
    return fit(histories, split)


KILLED = """
import os, random, signal, sys, time
import torch
import bayes_recsys as br
from bayes_recsys.inference import Checkpoint

torch.set_num_threads(1)
data = br.data.synthetic(n_users=60, n_items=80, length=(10, 20), seed=1)
split = br.data.split(data.interactions, seed=1)
histories = br.data.histories(split)
scores = br.Scores(br.Weibull("amortised"), scope="interaction")
training = br.Training(max_epochs=4, learning_rate=1e-2, pairs=300, seed=2)
objective = br.Objective(br.Bernoulli(2), kl_weight=br.LinearWarmup(0.1, epochs=3))

def train():
    torch.manual_seed(0)
    model = br.models.BAMF(histories, embedding_dim=8, dropout=0.2, item_scores=scores)
    keep = Checkpoint(sys.argv[1], every=1)
    fit = br.fit(model, split, objective, training, checkpoint=keep, progress=False)
    torch.save([fit.stopped, model.state_dict()], sys.argv[2])
    os._exit(0)

random.seed(1)
kills = 0
while True:
    child = os.fork()
    if not child:
        train()
    if kills < 20:
        time.sleep(random.uniform(0.05, 0.5))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
    assert os.WIFSIGNALED(status), status
    kills += 1
print(kills)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_at_random_it_ends_as_if_it_never_was(tmp_path, straight):
    """To the bit, whenever it is killed: in a batch, in a ranking, while writing."""
    paths = tmp_path / "run.pt", tmp_path / "end.pt"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *paths], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2
    stopped, weights = torch.load(paths[1], weights_only=True)
    assert stopped == "epochs"
    expected = straight.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert len([one for one in tmp_path.iterdir() if one not in paths]) <= 1


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("epoch", "position"), [(0, 2), (2, 0)])
def test_a_signal_ends_it_between_batches(
    which, epoch, position, histories, split, straight, tmp_path
):
    def send(state):
        if (state.epoch, state.position) == (epoch, position):
            os.kill(os.getpid(), which)

    keep = Checkpoint(tmp_path / "run.pt", every=1000)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stopped = fit(histories, split, checkpoint=keep, callbacks=[send])
    assert stopped.stopped == "interrupted"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    ended = fit(histories, split, checkpoint=Checkpoint(tmp_path / "run.pt"))
    assert same_weights(ended.model, straight.model)
    assert ended.history["loss"].tolist() == straight.history["loss"].tolist()
    again = fit(histories, split, checkpoint=Checkpoint(tmp_path / "run.pt"))
    assert same_weights(again.model, straight.model), "it had ended"


def test_it_can_be_made_longer(histories, split, tmp_path):
    longer = br.Training(max_epochs=6, learning_rate=1e-2, pairs=300, seed=2, patience=20)
    fit(histories, split, checkpoint=Checkpoint(tmp_path / "run.pt"))
    ended = fit(histories, split, training=longer, checkpoint=Checkpoint(tmp_path / "run.pt"))
    assert len(ended.history) == 6
    assert same_weights(ended.model, fit(histories, split, training=longer).model)


def test_one_of_a_gpu_goes_on_elsewhere(histories, split, straight, tmp_path, monkeypatch):
    """Its tensors say that they were on a device which is not here."""

    def stop(state):
        state.stopped = "asked to" if state.epoch == 2 else None

    keep = Checkpoint(tmp_path / "run.pt")
    monkeypatch.setattr("torch.serialization.location_tag", lambda storage: "cuda:7")
    fit(histories, split, checkpoint=keep, callbacks=[stop])
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(keep.path, weights_only=True)
    assert same_weights(fit(histories, split, checkpoint=keep).model, straight.model)


def test_a_run_is_described_without_the_addresses_of_what_it_is_made_of(histories, split):
    """Which are other ones in another process."""

    class Rising:
        def __call__(self, time):
            return 1.0

    model = br.models.GMF(histories)
    for weight in (Rising(), partial(Rising(), 1.0), Rising().__call__, lambda time: 1.0):
        objective = br.Objective(kl_weight=weight, elbo=TraceMeanField_ELBO())
        said = described(model, split, objective, TRAINING)
        assert "0x" not in str(said)
        objective.elbo.max_plate_nesting = 2  # as after a run
        assert described(model, split, objective, TRAINING) == said


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"training": br.Training(max_epochs=4, learning_rate=2e-2, pairs=300, seed=2)}, "learning_rate: there 0.01, here 0.02"),
        ({"training": br.Training(max_epochs=4, learning_rate=1e-2, pairs=300, seed=3)}, "seed: there 2, here 3"),
        ({"objective": br.Objective(br.Bernoulli(3))}, r"likelihood: there Bernoulli\(negatives=2\)"),
        ({"objective": br.Objective(br.Bernoulli(2))}, "kl_weight: there"),
        ({"dim": 9}, "model option embedding_dim: there 8, here 9"),
    ],
)  # fmt: skip
def test_another_run_is_refused_by_what_differs(other, message, histories, split, tmp_path):
    fit(histories, split, checkpoint=Checkpoint(tmp_path / "run.pt"))
    before = (tmp_path / "run.pt").read_bytes()
    with pytest.raises(CheckpointError, match=message):
        fit(histories, split, checkpoint=Checkpoint(tmp_path / "run.pt"), **other)
    assert (tmp_path / "run.pt").read_bytes() == before


def test_other_data_are_refused(histories, split, synthetic, tmp_path):
    fit(histories, split, checkpoint=Checkpoint(tmp_path / "run.pt"))
    other = br.data.split(synthetic.interactions, seed=2)
    with pytest.raises(CheckpointError, match="split: there"):
        fit(br.data.histories(other), other, checkpoint=Checkpoint(tmp_path / "run.pt"))


def test_what_is_no_checkpoint_is_refused(histories, split, tmp_path):
    path = tmp_path / "run.pt"
    path.write_bytes(b"years of work")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        fit(histories, split, checkpoint=Checkpoint(path))
    assert path.read_bytes() == b"years of work"

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code ran",))

    torch.save({"x": Bomb()}, path)
    with pytest.raises(CheckpointError, match="might run code"):
        fit(histories, split, checkpoint=Checkpoint(path))
    with pytest.raises(ValueError, match="every must be"):
        Checkpoint(path, every=0)
    with pytest.raises(ValueError, match="not both"):
        fit(histories, split, checkpoint=Checkpoint(path), resume={})


def test_a_full_disk_leaves_the_file_before(histories, split, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"

    def full(state):
        if (state.epoch, state.position) == (2, 1):
            monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))

    with pytest.raises(OSError, match="full"):
        fit(histories, split, checkpoint=Checkpoint(path, every=2), callbacks=[full])
    monkeypatch.undo()
    ended = fit(histories, split, checkpoint=Checkpoint(path))
    assert len(ended.history) == 4
    assert [one.name for one in tmp_path.iterdir()] == ["run.pt"]
