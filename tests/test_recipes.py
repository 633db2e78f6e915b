"""The three recipes of the contributing guide, each a script outside the package that tests itself."""

import re
import subprocess
import sys
from pathlib import Path

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

from my_model import WeighedHistory
from my_family import Nakagami
from my_likelihood import Probit

split = br.data.split(br.data.synthetic(n_users=60, n_items=80, length=(10, 20)).interactions)
histories = br.data.histories(split)
nakagami = br.Scores(Nakagami("learned"), Nakagami(1.0))
made = {
    "model": (lambda: WeighedHistory(histories, dim=8), br.Objective()),
    "family": (lambda: br.models.BAMF(histories, user_scores=nakagami), br.Objective()),
    "likelihood": (lambda: br.models.BAMF(histories), br.Objective(Probit())),
}
for title, (build, objective) in made.items():
    if sys.argv[1] == "train":
        training = br.Training(max_epochs=2, learning_rate=1e-2)
        model = build()
        br.fit(model, split, objective, training, progress=False)
        br.save_model(model, title)
    else:
        model = br.load_model(title)
    score = br.evaluate(model, split).per_user["ndcg@10"].mean()
    print(score, br.predictive_nll(model, split).mean(), br.recommend(model, ["3"], k=3).to_string())
"""
UNKNOWN = """
import bayes_recsys as br

for title in ("model", "family", "likelihood"):
    try:
        br.load_model(title)
    except br.models.ModelFolderError as error:
        print(error)
print("now known")
"""


def test_recipes_train_in_one_program_and_are_loaded_by_another(tmp_path):
    for title in TITLES:
        code = recipe(title).split("from bayes_recsys.testing")[0]
        (tmp_path / f"my_{title}.py").write_text(code)
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "load.py").write_text(UNKNOWN + USE)
    printed = []
    for arguments in (("use.py", "train"), ("load.py", "load")):
        command = [sys.executable, "-W", "error::UserWarning", *arguments]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-3000:]
        printed.append(run.stdout)
    trained, unknown, loaded = printed[0], *printed[1].split("now known\n")
    assert trained == loaded
    for name in ("WeighedHistory", "Nakagami", "Probit"):
        assert f"no class '{name}' is defined in this program: first import" in unknown
