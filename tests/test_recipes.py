"""The three recipes of the contributing guide, each a script outside the package that tests itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
TITLES = ("model", "family", "likelihood")


def recipe(title):
    """All code of a section: the class, and the tests that it inherits."""
    section = GUIDE.split(f"## Add a {title}\n")[1].split("\n## ")[0]
    return "\n\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


def test_recipes_satisfy_what_is_asked_of_their_kind(tmp_path):
    """Each a test file of its own, in one run."""
    for title in TITLES:
        (tmp_path / f"test_my_{title}.py").write_text(recipe(title))
    command = [sys.executable, "-m", "pytest", "-v", "-W", "error", "-p", "no:cacheprovider", "."]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
    for title in TITLES:
        assert len(re.findall(rf"test_my_{title}\.py::.* PASSED", run.stdout)) >= 6


USE = """
import sys

import bayes_recsys as br

from recipes import {name}

split = br.data.split(br.data.synthetic(n_users=60, n_items=80, length=(10, 20)).interactions)
histories = br.data.histories(split)
if sys.argv[1] == "train":
    training = br.Training(max_epochs=2, learning_rate=1e-2)
    model, objective = {model}, br.Objective({likelihood})
    br.fit(model, split, objective, training, progress=False)
    br.save_model(model, "model")
else:
    model = br.load_model("model")
score = br.evaluate(model, split).per_user["ndcg@10"].mean()
print(score, br.predictive_nll(model, split).mean(), br.recommend(model, ["3"], k=3).to_string())
"""
BAMF = "br.models.BAMF(histories, user_scores={})"
USES = {
    "model": ("WeighedHistory", "WeighedHistory(histories, dim=8)", ""),
    "family": ("Nakagami", BAMF.format("br.Scores(Nakagami('learned'), Nakagami(1.0))"), ""),
    "likelihood": ("Probit", BAMF.format("br.Scores()"), "Probit()"),
}


@pytest.mark.parametrize("title", TITLES)
def test_a_recipe_trains_in_one_program_and_is_loaded_by_another(title, tmp_path):
    name, model, likelihood = USES[title]
    (tmp_path / "recipes.py").write_text(recipe(title).split("from bayes_recsys.testing")[0])
    use = USE.format(name=name, model=model, likelihood=likelihood)
    (tmp_path / "use.py").write_text(use)
    printed = []
    for part in ("train", "load"):
        command = [sys.executable, "-W", "error::UserWarning", "use.py", part]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-3000:]
        printed.append(run.stdout)
    assert printed[0] == printed[1]
    (tmp_path / "use.py").write_text("import bayes_recsys as br\nbr.load_model('model')")
    command = [sys.executable, "use.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"no class '{name}' is defined in this program: first import" in run.stderr
