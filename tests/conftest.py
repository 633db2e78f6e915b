import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

import bayes_recsys as br


@pytest.fixture(autouse=True)
def _clean_pyro():
    pyro.clear_param_store()
    with pyro.validation_enabled(True):
        yield
    assert not pyro.get_param_store().keys(), "the global parameter store was used"


@pytest.fixture
def script(monkeypatch):
    """Runs a script of the examples with these arguments."""
    examples = Path(__file__).parents[1] / "examples"

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(examples / f"{name}.py"), run_name="__main__")

    return run


@pytest.fixture(scope="session")
def synthetic():
    return br.data.synthetic(n_users=60, n_items=80, length=(10, 20), seed=1)


@pytest.fixture(scope="session")
def split(synthetic):
    return br.data.split(synthetic.interactions, seed=1)


@pytest.fixture(scope="session")
def histories(split):
    return br.data.histories(split)


@pytest.fixture
def batch(split, histories):
    """A training batch with users of different history lengths."""
    return next(iter(batches(split, histories).epoch(1)))


def batches(split, histories, **options):
    sampler = br.data.negative_sampler(split)
    options = {"negatives": 2, "block": 4, "pairs": 120, **options}
    return br.data.TrainingBatches(split.items_by_user("train"), histories, sampler, **options)


@pytest.fixture(scope="session")
def latest_small():
    folder = br.data.data_home() / "ml-latest-small"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set BAYES_RECSYS_DATA or call load_movielens once")
    return br.data.load_movielens("latest-small")


def make(model_class, histories, size=0.4, **options):
    """A model with random parameters far from their initial values."""
    torch.manual_seed(0)
    model = model_class(histories, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(size * torch.randn_like(parameter))
    return model.eval()


def elbo(model, batch):
    """An estimate of the negative one, differentiable."""
    return Trace_ELBO().differentiable_loss(model.model, model.guide, batch)


def events(rows):
    """Interactions from (user, item, time)."""
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return br.data.from_frame(frame, timestamp="timestamp", name="events")


@pytest.fixture
def late():
    """Twenty events of which user c, with three, comes after training."""
    rows = [("ab"[n % 2], n, n) for n in range(17)] + [("c", 0, 17), ("c", 1, 18), ("c", 2, 18.5)]
    return events(rows)


class Tied:
    """Integer scores: most candidates tie."""

    def __init__(self, split):
        rng = np.random.default_rng(5)
        shape = split.interactions.n_users, split.interactions.n_items
        self.values = torch.from_numpy(rng.integers(0, 4, shape)).float()

    def score(self, user, item):
        return self.values[user].gather(1, item)
