"""A model as a folder: whole, safe to load, and refused by name where it is not."""

import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.models import ModelFolderError
from tests.conftest import make


@pytest.fixture
def folder(histories, tmp_path):
    br.save_model(make(br.models.BAMF, histories), tmp_path / "model")
    return tmp_path / "model"


def test_the_callers_random_state_is_left_alone(folder):
    state = torch.get_rng_state()
    br.load_model(folder)
    assert torch.equal(torch.get_rng_state(), state)


def file_of(folder, name):
    """Where a part of a model is."""
    stem, end = name.split(".")
    (path,) = folder.glob(f"{stem}-*.{end}")
    return path


def put(folder, name, content):
    """Other content, with a manifest that says that it was meant."""
    path = file_of(folder, name)
    path.write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["weights", "options", "histories"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped"])
def test_damage_is_named(name, damage, folder):
    (path,) = folder.glob(f"{name}-*")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        place = len(content) // 2
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    else:
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(ModelFolderError, match=name):
        br.load_model(folder)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": "bayes_recsys model 4"}', '{"format": "a thesis"}']
)
def test_a_damaged_manifest_is_named(text, folder):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"manifest\.json"):
        br.load_model(folder)


@pytest.mark.parametrize("entry", ["../../secret.pt", "/etc/passwd"])
def test_a_manifest_stays_in_its_folder(entry, folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["weights.pt"]["file"] = entry
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFolderError, match="is not in the folder"):
        br.load_model(folder)


@pytest.mark.parametrize("change", ["beyond", "negative", "offsets", "lengths"])
def test_codes_out_of_range_are_refused(change, folder):
    arrays = dict(np.load(file_of(folder, "histories.npz")))
    if change in ("beyond", "negative"):
        arrays["history_values"][3] = 10_000 if change == "beyond" else -1
    elif change == "offsets":
        arrays["audience_offsets"][2] += 1000
    else:
        arrays["user_ids"] = arrays["user_ids"][:-1]
    file = io.BytesIO()
    np.savez(file, **arrays)
    put(folder, "histories.npz", file.getvalue())
    with pytest.raises(ModelFolderError, match=r"histories\.npz"):
        br.load_model(folder)


def test_an_empty_or_absent_folder(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelFolderError, match=r"manifest\.json: the file is missing"):
        br.load_model(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="no such model folder"):
        br.load_model(tmp_path / "other")


def test_files_of_two_models(folder, histories, tmp_path):
    br.save_model(make(br.models.BAMF, histories, embedding_dim=3), tmp_path / "other")
    other = file_of(tmp_path / "other", "weights.pt").read_bytes()
    put(folder, "weights.pt", other)
    with pytest.raises(ModelFolderError, match="do not fit together"):
        br.load_model(folder)
    file_of(folder, "weights.pt").write_bytes(other[:-1])
    with pytest.raises(ModelFolderError, match="not what was written"):
        br.load_model(folder)


def test_a_pickle_is_not_executed(folder):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code ran",))

    file = io.BytesIO()
    torch.save({"x": Bomb()}, file)
    put(folder, "weights.pt", file.getvalue())
    with pytest.raises(ModelFolderError, match=r"weights\.pt: .*might run code") as refused:
        br.load_model(folder)
    assert "weights_only" not in str(refused.value)


def test_models_of_others(histories, tmp_path):
    class Mine(br.models.BAMF):
        pass

    br.save_model(make(Mine, histories), tmp_path / "mine")
    assert type(br.load_model(tmp_path / "mine")) is Mine
    about = json.loads(file_of(tmp_path / "mine", "options.json").read_text())
    guide = about["model"]["options"]["user_scores"]["guide"]
    module = "bayes_recsys.scores.families"
    assert guide == {"class": "LogNormal", "module": module, "scale": "learned"}
    assert (about["model"]["class"], about["model"]["module"]) == ("Mine", __name__)


@pytest.mark.parametrize("of", ["model", "family", "likelihood"])
def test_a_class_that_is_not_defined_is_named(of, folder):
    about = json.loads(file_of(folder, "options.json").read_text())
    guide = about["model"]["options"]["user_scores"]["guide"]
    part = {"model": about["model"], "family": guide, "likelihood": about["likelihood"]}[of]
    part |= {"class": "Unheard", "module": "theirs"}
    put(folder, "options.json", json.dumps(about).encode())
    with pytest.raises(
        ModelFolderError, match=r"options\.json: no class 'Unheard' .*first import .*'theirs'"
    ):
        br.load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("likelihood"), r"options\.json: 'likelihood'"),
        (lambda a: a["model"].pop("module"), r"options\.json: 'module'"),
        (lambda a: a["model"]["options"].update(gamma=1), "BAMF: .*unexpected.*'gamma'"),
        (lambda a: a["model"]["options"].update(beta=7), "do not fit together: beta must be"),
        (lambda a: a["likelihood"].update(odd=1), "Bernoulli: .*unexpected.*'odd'"),
        (lambda a: a["likelihood"].update(negatives=0), "negatives must be a whole number"),
        (lambda a: a["likelihood"].update(**{"class": "BAMF"}), "no class 'BAMF'"),
    ],
)
def test_options_that_do_not_fit_are_named(change, message, folder):
    about = json.loads(file_of(folder, "options.json").read_text())
    change(about)
    put(folder, "options.json", json.dumps(about).encode())
    with pytest.raises(ModelFolderError, match=message):
        br.load_model(folder)


@pytest.mark.parametrize("likelihood", [br.Bernoulli(7), br.BradleyTerry(3)])
def test_the_likelihood_comes_back(likelihood, histories, tmp_path):
    model = make(br.models.GMF, histories)
    model.likelihood = likelihood
    br.save_model(model, tmp_path / "model")
    assert br.load_model(tmp_path / "model").likelihood == likelihood


def test_features_come_back(split, tmp_path):
    features = np.random.default_rng(0).normal(size=(80, 3))
    known = br.data.histories(split, item_features=features, user_features=torch.ones(60, 2))
    br.save_model(make(br.models.GMF, known), tmp_path / "model")
    loaded = br.load_model(tmp_path / "model").histories
    assert torch.equal(loaded.item_features, torch.from_numpy(features).float())
    assert torch.equal(loaded.user_features, torch.ones(60, 2))


def test_without_features_there_are_none(folder):
    loaded = br.load_model(folder).histories
    assert loaded.item_features is loaded.user_features is None


def test_only_files_of_ours_are_replaced(folder, histories):
    """A thesis in the folder stays; an older weights file does not."""
    (folder / "thesis.txt").write_text("years of work")
    before = {path.name for path in folder.iterdir()}
    br.save_model(make(br.models.BAMF, histories, size=0.1), folder)
    after = {path.name for path in folder.iterdir()}
    assert (folder / "thesis.txt").read_text() == "years of work"
    assert len(after) == len(before) == 5
    assert len(after - before) == 1, "weights alone are other ones"
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_other_folders_are_left_alone(histories, tmp_path):
    """A folder with some options.json in it too, and one with somebody's manifest."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "options.json").write_text("{}")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "manifest.json").write_text('{"format": 2}')
    for path in (tmp_path, tmp_path / "thesis", tmp_path / "thesis" / "options.json"):
        with pytest.raises(ModelFolderError, match="exists and is not a model folder"):
            br.save_model(make(br.models.BAMF, histories), path)
    with pytest.raises(ModelFolderError, match="exists and is not a model folder"):
        br.save_model(make(br.models.BAMF, histories), tmp_path / "package")
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "manifest.json",
        "options.json",
        "package",
        "thesis",
    ]
    (tmp_path / "empty").mkdir()
    br.save_model(make(br.models.BAMF, histories), tmp_path / "empty")
    br.load_model(tmp_path / "empty")


KILLED = """
import os, random, signal, sys, time
import torch
import bayes_recsys as br

torch.set_num_threads(1)
target = sys.argv[1]
model = br.load_model(target)

def save_for_ever(number):
    while True:
        with torch.no_grad():
            model.user.weight.fill_(number)
        br.save_model(model, target)
        number += 1

random.seed(0)
for turn in range(20):
    savers = []
    for one in range(2):
        savers.append(os.fork())
        if not savers[-1]:
            save_for_ever(1000 * (2 * turn + one))
    time.sleep(random.uniform(0, 0.1))
    for saver in savers:
        os.kill(saver, signal.SIGKILL)
        os.waitpid(saver, 0)
    weight = br.load_model(target).user.weight
    print(weight[0, 0].item(), bool((weight == weight[0, 0]).all()))
br.save_model(model, target)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_at_any_moment_a_whole_model_is_there(folder):
    """Two savers at once, forty kills in all: always one of their models, and no leftovers after the next
    call."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, folder], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert len(found) == 20
    assert all(whole == "True" for _, whole in found[1:])
    assert len({number for number, _ in found}) > 10, "they were at it"
    assert len(list(folder.iterdir())) == 4
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_it_can_be_read_while_it_is_replaced(folder, histories):
    """Each time all of one model."""
    models = [make(br.models.BAMF, histories, size=size) for size in (0.1, 0.2)]
    stop = threading.Event()

    def write():
        for model in itertools.cycle(models):
            br.save_model(model, folder)
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            scale = br.load_model(folder).user.weight.std()
            assert min(abs(scale - size) for size in (0.1, 0.2, 0.4)) < 0.02
    finally:
        stop.set()
        writer.join()


def test_an_option_that_json_cannot_hold_is_named(histories, tmp_path):
    class Odd(br.models.GMF):
        def __init__(self, histories, *, thing=None):
            super().__init__(histories)

    with pytest.raises(ModelFolderError, match=r"Odd: option thing=1j cannot be saved"):
        br.save_model(make(Odd, histories, thing=1j), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_numpy_is_a_number(histories, tmp_path):
    model = make(br.models.BAMF, histories, beta=np.float32(0.5), hidden=np.int64(3))
    br.save_model(model, tmp_path / "model")
    assert br.load_model(tmp_path / "model").options == model.options


@pytest.mark.parametrize("call", [1, 2])
def test_a_full_disk_leaves_the_old_one(call, folder, histories, monkeypatch):
    """Whichever file it is that does not fit."""
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) >= call:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    expected = br.load_model(folder).user.weight
    with pytest.raises(OSError, match="No space left"):
        br.save_model(make(br.models.BAMF, histories, size=0.1), folder)
    monkeypatch.undo()
    assert torch.equal(br.load_model(folder).user.weight, expected)
    br.save_model(make(br.models.BAMF, histories), folder)
    assert len(list(folder.iterdir())) == 4


def test_what_is_no_model_is_named(tmp_path, histories, split):
    training = br.Training(max_epochs=1)
    fit = br.fit(br.models.GMF(histories), split, training=training, progress=False)
    with pytest.raises(TypeError, match=r"not Fit; give its \.model"):
        br.save_model(fit, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_ids_that_python_holds_are_saved_as_text(split, tmp_path):
    """As of a table's column; NumPy would write code for them, which is not loaded."""
    data = replace(
        split.interactions,
        user_ids=split.interactions.user_ids.astype(object),
        item_ids=split.interactions.item_ids.astype(object),
    )
    model = make(br.models.GMF, br.data.histories(replace(split, interactions=data)))
    br.save_model(model, tmp_path / "model")
    loaded = br.load_model(tmp_path / "model")
    assert loaded.histories.user_ids.tolist() == model.histories.user_ids.tolist()


def test_histories_may_be_given_by_name(histories):
    assert br.models.GMF(histories=histories, embedding_dim=4).options.values["embedding_dim"] == 4
