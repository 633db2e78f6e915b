"""Typed options as JSON and back, of classes that are defined and no others."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

import bayes_recsys as br
from bayes_recsys.likelihoods import Likelihood
from bayes_recsys.records import (
    RecordError,
    find_class,
    from_record,
    read_json,
    to_record,
    write_json,
)
from bayes_recsys.scores import RandomFamily

BASES = (RandomFamily, br.Point, br.Scores, Likelihood)


@pytest.mark.parametrize(
    "value",
    [
        *(family() for family in (br.LogNormal, br.Gamma, br.Weibull, br.Point)),
        br.Scores(br.Gamma("amortised"), br.Weibull(0.3), scope="interaction"),
        br.BradleyTerry(3),
        {"a": 1, "b": (1.5, None, "text", True), "c": (br.Point(), {"d": ()})},
    ],
)
def test_comes_back_through_json(value):
    assert from_record(json.loads(json.dumps(to_record(value))), *BASES) == value


def test_numbers_of_numpy_are_numbers():
    record = to_record({"a": np.float32(0.5), "b": np.int64(3)})
    assert [type(one) for one in record.values()] == [float, int]


@pytest.mark.parametrize("value", [1j, object(), {"a": [print]}, np.zeros(3)])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(RecordError, match="cannot be saved"):
        to_record(value)


@pytest.mark.parametrize("name", ["Popen", "object", "Histories", "Model", "br.Gamma"])
def test_only_subclasses_are_found(name):
    with pytest.raises(RecordError, match=rf"no class '{name}' is defined in this program"):
        from_record({"class": name, "module": "subprocess"}, *BASES)


def test_options_that_a_class_does_not_have():
    with pytest.raises(RecordError, match=r"Gamma: .*'width'"):
        from_record({"class": "Gamma", "module": "x", "width": 1.0}, *BASES)


def test_of_one_name_the_module_decides_and_then_the_last():
    ours = br.Weibull

    @dataclass(frozen=True)
    class Weibull(ours):
        pass

    first = Weibull
    assert find_class("Weibull", __name__, RandomFamily) is first
    assert find_class("Weibull", ours.__module__, RandomFamily) is ours
    with pytest.raises(RecordError, match=r"'Weibull' of elsewhere is defined in .*which one"):
        find_class("Weibull", "elsewhere", RandomFamily)

    @dataclass(frozen=True)
    class Weibull(ours):
        pass

    assert find_class("Weibull", __name__, RandomFamily) is Weibull
    assert find_class("Gamma", "moved", RandomFamily) is br.Gamma


def test_files_are_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.json"
    write_json({"a": 1}, path)
    assert read_json(path) == {"a": 1}
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_json({"a": 2}, path)
    assert read_json(path) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
    path.write_text("{")
    with pytest.raises(RecordError, match=r"a\.json: damaged, or no JSON"):
        read_json(path)
    with pytest.raises(RecordError, match=r"b\.json: no such file"):
        read_json(tmp_path / "b.json")
