"""Nothing goes back to the processor within a forward pass; rows of data are on a device once."""

import pytest
import torch

import bayes_recsys as br
from bayes_recsys.data import Ragged
from tests.cases import MODELS, VARIANTS


@pytest.fixture(scope="module")
def split():
    return br.data.split(br.data.synthetic(n_users=30, n_items=60, seed=0).interactions)


def refused(*arguments):
    raise AssertionError("a tensor leaves its device in a forward pass")


@pytest.mark.parametrize(("model", "options"), [*((one, {}) for one in MODELS), *VARIANTS])
def test_a_forward_pass_stays_on_its_device(model, options, split, monkeypatch):
    histories = br.data.histories(split)
    made = model(histories, **options).train()
    batch = br.data.candidates(histories, torch.tensor([0, 3]), torch.randint(0, 60, (2, 5)))
    for name in ("cpu", "numpy", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, refused)
    made.guide(batch)
    made.expected_logits(batch)


def test_rows_are_copied_to_a_device_once():
    rows = Ragged.from_pairs(torch.tensor([1, 0, 1]), torch.tensor([7, 5, 6]), n_rows=3)
    assert rows.on("cpu") is rows
    there = rows.on("meta")
    assert there.values.device.type == there.lengths.device.type == "meta"
    assert rows.on("meta") is there
