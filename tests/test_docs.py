"""Code in the documentation runs."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pyro
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.posterior import import_arviz

ROOT = Path(__file__).parents[1]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def block(page, containing):
    (found,) = [b for b in blocks(page) if containing in b]
    return found


@pytest.fixture
def names(synthetic, monkeypatch, tmp_path):
    """What the pages take for granted, at toy size."""
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    import_arviz()
    fit, nuts = br.fit, br.inference.nuts

    def one_epoch(model, split, objective=br.Objective(), training=br.Training(), **options):
        training = replace(training, max_epochs=1)
        return fit(model, split, objective, training, **{**options, "progress": False})

    def few_draws(model, split, users, **options):
        return nuts(model, split, users, **{**options, "draws": 10, "warmup": 50})

    monkeypatch.setattr(br, "fit", one_epoch)
    monkeypatch.setattr(br.inference, "nuts", few_draws)
    monkeypatch.setattr(br.data, "load_movielens", lambda name: synthetic.interactions)
    Path("ratings_Beauty.csv").write_text("u1,i1,5.0,1\nu1,i2,4.0,2\n")
    splits = [br.data.split(synthetic.interactions, seed=seed) for seed in range(2)]
    histories = br.data.histories(splits[0])

    def fitted(name, split):
        return br.baselines.EASE(split) if name == "EASE" else br.baselines.Popularity(split)

    return {
        "br": br,
        "torch": torch,
        "pyro": pyro,
        "ratings": synthetic.interactions,
        "split": splits[0],
        "splits": splits,
        "histories": histories,
        "model": br.models.BAMF(histories),
        "fitted": fitted,
        "user": torch.tensor([3]),
        "item": torch.tensor([[1, 2, 5]]),
    }


def test_the_example_of_the_readme(names, capsys):
    exec(block("README.md", "br.fit"), {})
    assert "full ranking of the test part" in capsys.readouterr().out


def test_the_example_of_the_front_page(names, capsys):
    exec(block("docs/index.md", "br.fit"), {})
    assert "full ranking of the test part" in capsys.readouterr().out


def test_what_the_demo_leaves_opens(names):
    br.save_model(names["model"], "demo/model")
    br.save_tree(br.posterior_tree(names["model"], ["42"], draws=3), "demo/posterior.nc")
    exec(block("README.md", "from_netcdf"), names)
    assert names["posterior"].posterior.sizes["draw"] == 3


@pytest.mark.filterwarnings("ignore::bayes_recsys.inference.CollapseWarning")
@pytest.mark.parametrize(
    "page",
    [
        *("conventions", "families", "bamf", "objective"),
        *("posterior", "evaluation", "baselines", "data"),
    ],
)
def test_the_examples_of_a_page(page, names):
    for code in blocks(f"docs/{page}.md"):
        exec(code, names)
