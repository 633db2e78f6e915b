"""Two processes that train one model together, against one that does it alone."""

import subprocess
import sys

import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data.batches import TrainingBatches
from bayes_recsys.distributed import Group
from bayes_recsys.inference import fitting

SCRIPT = """
import os, signal, sys
import pyro
import pyro.poutine as poutine
import torch
import torch.distributed as dist
import bayes_recsys as br
from bayes_recsys.inference import fitting
from bayes_recsys.scores.rows import ScoreRows
from pyro.nn import PyroModule

def gradient_descent(model, objective, training):
    # Adam would make much of what rounding makes of a gradient of zero.
    for one in fitting.tables_of(model):
        one.sparse = training.sparse
    return torch.optim.SGD(model.parameters(), lr=3.0)

class Levelled(PyroModule):
    def __init__(self, model):
        super().__init__()
        self.of = [model]
        self.level = torch.nn.Parameter(torch.randn(()))

    def forward(self, batch):
        site = self.of[0].attend(batch)["user_attention"]
        scores = br.LogNormal(0.5).distribution(site.energy + self.level)
        with (
            poutine.scale(scale=batch.scale),
            pyro.plate("block", len(batch.user), dim=-2),
            poutine.scale(scale=batch.share[:, None]),
            pyro.plate("user_attention_candidate", site.present.n_rows, dim=-1),
        ):
            return pyro.sample("user_attention", ScoreRows(scores, site.present))

def train(name, distributed):
    options = {
        "point": {"user_scores": br.Point()},
        "random": {},
        "both": {"history": "both"},
        "sparse": {"user_scores": br.Point()},
        "interrupted": {},
        "guided": {},
    }[name]
    data = br.data.synthetic(n_users=60, n_items=80, length=(10, 20), seed=1).interactions
    split = br.data.split(data, seed=1)
    torch.manual_seed(dist.get_rank() if distributed else 0)
    model = br.models.BAMF(br.data.histories(split), embedding_dim=8, **options)
    sparse = name == "sparse"
    objective = br.Objective(penalty=0.0 if sparse else 0.1)
    # Of point and sparse some batches have a single block, and one process none.
    pairs = 120 if name in ("point", "sparse") else 300
    training = br.Training(max_epochs=2, pairs=pairs, sparse=sparse, distributed=distributed)
    guide = Levelled(model) if name == "guided" else None

    def interrupt(state):
        if name == "interrupted" and (state.epoch, state.position) == (1, 2):
            os.kill(os.getpid(), signal.SIGINT)

    if name in ("point", "sparse"):
        fitting.make_optimizer = gradient_descent
    fit = br.fit(
        model, split, objective, training, guide=guide, callbacks=[interrupt], progress=False
    )
    found = br.evaluate(model, split, distributed=distributed)
    return {
        "weights": model.state_dict(), "loss": fit.history["loss"].tolist(), "stopped": fit.stopped,
        "metrics": found.per_user.to_numpy().tolist(), "cases": found.cases,
    }
"""
TOGETHER = """
dist.init_process_group("gloo")
results = {name: train(name, True) for name in sys.argv[2:]}
torch.save(results, f"{sys.argv[1]}/{dist.get_rank()}.pt")
try:
    data = br.data.synthetic(n_users=30, n_items=40, length=(10, 20), seed=dist.get_rank())
    split = br.data.split(data.interactions)
    br.fit(br.models.BAMF(br.data.histories(split)), split, training=br.Training(distributed=True))
except ValueError as error:
    print("refused:", error)
print("done", flush=True)
dist.barrier()
dist.destroy_process_group()
"""
# One worker for all, as they share what two processes did.
pytestmark = pytest.mark.xdist_group("distributed")
NAMES = ("both", "random", "interrupted", "guided", "point", "sparse")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    script = folder / "script.py"
    script.write_text(SCRIPT + TOGETHER)
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launched, script, folder, *NAMES], capture_output=True, text=True, timeout=300
    )
    # Not by the status: gloo's threads may be ended after the interpreter, which aborts it (seen once).
    assert done.stdout.count("done") == 2, done.stderr[-3000:]
    assert "was given another task than process 0" in done.stdout
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone():
    names = {}
    exec(SCRIPT, names)  # the same words, in this process
    return names["train"]


@pytest.mark.parametrize("name", ["point", "sparse"])
def test_they_do_what_one_does(name, together, alone, monkeypatch):
    """Weights after all steps, to rounding."""
    monkeypatch.setattr(
        fitting, "make_optimizer", fitting.make_optimizer
    )  # which the script changes
    expected, found = alone(name, False), together[0][name]
    torch.testing.assert_close(found["weights"], expected["weights"], atol=1e-6, rtol=0)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)


@pytest.mark.parametrize(("name", "options"), [("random", {}), ("both", {"history": "both"})])
def test_they_rank_as_one_does(name, options, together, split, histories):
    """The same model's metrics, exactly."""
    found = together[0][name]
    model = br.models.BAMF(histories, embedding_dim=8, **options)
    model.load_state_dict(found["weights"])
    alone = br.evaluate(model.eval(), split)
    assert found["metrics"] == alone.per_user.to_numpy().tolist()
    assert found["cases"] == alone.cases


@pytest.mark.parametrize("name", NAMES)
def test_all_have_the_same_in_the_end(name, together):
    one, other = (result[name] for result in together)
    for key, weight in one["weights"].items():
        assert torch.equal(weight, other["weights"][key])
    assert one["metrics"] == other["metrics"]
    assert (
        one["stopped"] == other["stopped"] == ("interrupted" if name == "interrupted" else "epochs")
    )


def test_noise_is_each_process_s_own(together, alone):
    """The objective is the same in the mean, its draws are not."""
    expected, found = alone("random", False), together[0]["random"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=0.05)
    assert found["loss"] != pytest.approx(expected["loss"], rel=1e-6)


def test_a_batch_is_cut_into_shares_that_are_the_whole(split, histories):
    def batches(*share):
        sampler = br.data.negative_sampler(split)
        positives = split.items_by_user("train")
        return TrainingBatches(positives, histories, sampler, 2, pairs=120, share=share).epoch(1)

    lonely = 0
    for whole, *shares in zip(batches(0, 1), *(batches(rank, 3) for rank in range(3)), strict=True):
        pairs = [
            (int(user), int(item))
            for part in shares
            for user, row, mask in zip(part.user, part.item, part.mask, strict=True)
            for item in row[mask]
        ]
        users = whole.user[:, None].expand(whole.item.shape)
        assert sorted(pairs) == sorted(
            zip(users[whole.mask].tolist(), whole.item[whole.mask].tolist(), strict=True)
        )
        assert {part.scale for part in shares} == {whole.scale}
        lonely += sum(not part.mask.any() for part in shares)
    assert lonely  # there was a batch of fewer blocks than processes


def test_without_a_group_it_is_refused(split, histories):
    with pytest.raises(ValueError, match="torchrun"):
        br.evaluate(br.baselines.Popularity(split), split, distributed=True)
    with pytest.raises(ValueError, match="torchrun"):
        br.fit(br.models.BAMF(histories), split, training=br.Training(distributed=True))
    assert Group.of(False) == Group()
