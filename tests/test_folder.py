"""A model as a folder: whole, safe to load, and refused by name where it is not."""

import json

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


@pytest.mark.parametrize("name", ["weights.pt", "options.json", "histories.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
def test_damage_is_named(name, damage, folder):
    path = folder / name
    if damage == "missing":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(ModelFolderError, match=name):
        br.load_model(folder)


def test_an_empty_or_absent_folder(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelFolderError, match=r"options\.json: the file is missing"):
        br.load_model(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="no such model folder"):
        br.load_model(tmp_path / "other")


def test_files_of_two_models(folder, histories, tmp_path):
    br.save_model(make(br.models.BAMF, histories, embedding_dim=3), tmp_path / "other")
    (tmp_path / "other" / "weights.pt").rename(folder / "weights.pt")
    with pytest.raises(ModelFolderError, match="do not fit together"):
        br.load_model(folder)


def test_a_pickle_is_not_executed(folder):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code ran",))

    torch.save({"x": Bomb()}, folder / "weights.pt")
    with pytest.raises(ModelFolderError, match=r"weights\.pt: cannot be read"):
        br.load_model(folder)


def test_models_of_others(histories, tmp_path):
    class Mine(br.models.BAMF):
        pass

    br.save_model(make(Mine, histories), tmp_path / "mine")
    assert type(br.load_model(tmp_path / "mine")) is Mine
    about = json.loads((tmp_path / "mine" / "options.json").read_text())
    guide = about["model"]["options"]["user_scores"]["guide"]
    module = "bayes_recsys.scores.families"
    assert guide == {"class": "LogNormal", "module": module, "scale": "learned"}
    assert (about["model"]["class"], about["model"]["module"]) == ("Mine", __name__)


@pytest.mark.parametrize("of", ["model", "family", "likelihood"])
def test_a_class_that_is_not_defined_is_named(of, folder):
    path = folder / "options.json"
    about = json.loads(path.read_text())
    guide = about["model"]["options"]["user_scores"]["guide"]
    part = {"model": about["model"], "family": guide, "likelihood": about["likelihood"]}[of]
    part |= {"class": "Unheard", "module": "theirs"}
    path.write_text(json.dumps(about))
    with pytest.raises(
        ModelFolderError, match=r"options\.json: no class 'Unheard' .*first import .*'theirs'"
    ):
        br.load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(format=3), "not a model of format 4"),
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
    path = folder / "options.json"
    about = json.loads(path.read_text())
    change(about)
    path.write_text(json.dumps(about))
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


def test_replaced_whole(folder, histories):
    (folder / "stray").touch()
    br.save_model(make(br.models.BAMF, histories), folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "histories.npz",
        "options.json",
        "weights.pt",
    ]
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_other_folders_are_left_alone(histories, tmp_path):
    (tmp_path / "precious.txt").touch()
    for path in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(ModelFolderError, match="exists and is not a model folder"):
            br.save_model(make(br.models.BAMF, histories), path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


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


def test_a_failed_save_leaves_the_old_one(folder, histories, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        br.save_model(make(br.models.BAMF, histories), folder)
    br.load_model(folder)
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
