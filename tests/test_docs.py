"""Code in the documentation runs."""

import re
from pathlib import Path

import matplotlib as mpl
import torch

import bayes_recsys as br
from bayes_recsys.diagnostics import import_arviz, plot_attention

ROOT = Path(__file__).parents[1]


def block(page, containing):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (found,) = [b for b in blocks if containing in b]
    return found


def test_the_model_of_the_contributing_guide(split, histories, tmp_path):
    names = {}
    exec(block("CONTRIBUTING.md", "class WeighedHistory"), names)
    mine = names["WeighedHistory"]
    torch.manual_seed(0)
    model = mine(histories)
    history = br.fit(model, split, max_epochs=15, learning_rate=1e-2, progress=False).history
    assert history["loss"].iloc[-1] < 0.5
    ndcg = {
        s: br.evaluate(s, split).per_user["ndcg@10"].mean()
        for s in (model, br.baselines.Popularity(split))
    }
    assert ndcg.pop(model) > max(ndcg.values())
    br.save_model(model, tmp_path / "mine")
    assert isinstance(br.load_model(tmp_path / "mine", mine), mine)
    assert len(br.recommend(model, users=["3"], k=4)) == 4
    plot_attention(br.posterior_tree(model, users=["3"]), "3")


def test_the_example_of_the_readme(synthetic, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    import_arviz()
    monkeypatch.setattr(br.data, "load_movielens", lambda name: synthetic.interactions)
    exec(block("README.md", "br.fit"), {})
    assert "full ranking of the test part" in capsys.readouterr().out
