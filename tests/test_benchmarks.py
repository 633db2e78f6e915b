"""The studies behind the documentation, at toy size."""

import importlib
import json
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

import bayes_recsys as br

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


@pytest.fixture
def ratings(tmp_path):
    data = br.data.synthetic(n_users=40, n_items=60, length=(10, 20)).interactions
    frame = pd.DataFrame({"user": data.user, "item": data.item, "timestamp": data.timestamp})
    frame.to_csv(tmp_path / "toy.csv", index=False)
    return tmp_path / "toy.csv"


def test_table_puts_data_and_splits_together(benchmark, ratings, tmp_path, capsys):
    out = tmp_path / "table"
    arguments = ["--split", "random", "leave-one-out", "--models", "popularity", "EASE"]
    arguments += ["--seeds", "2", "--out", str(out)]
    benchmark("table").main(["--data", str(ratings), *arguments])
    table = pd.read_csv(out / "table.csv", index_col=["data", "split", "model"])
    assert table.loc[("toy", "leave-one-out", "EASE"), "seeds"] == 2
    assert len(table) == 4
    text = (out / "table.md").read_text()
    assert "## toy, leave-one-out split" in text
    assert f"torch {version('torch')}" in text
    assert text in capsys.readouterr().out


def test_uncertainty_reports_all_predictives(benchmark, ratings, tmp_path, monkeypatch, capsys):
    study = benchmark("uncertainty")
    monkeypatch.setattr(study, "MEMBERS", 2)
    arguments = ["--data", str(ratings), "--seeds", "2", "--epochs", "1", "--out", str(tmp_path)]
    study.main([*arguments, "--figure", str(tmp_path / "figure.png")])
    first = capsys.readouterr().out
    for name in ("random scores", "no random scores", "ensemble of 2", "dropout", "short history"):
        assert f"| {name} |" in first
    report = json.loads((tmp_path / "0.json").read_text())
    assert set(report["dropout"]["per user"]) >= {"ndcg@10", "nll", "brier", "spread"}
    assert report["no random scores"]["expected over actual"]["raw"] > 1
    assert (tmp_path / "figure.png").stat().st_size > 0
    monkeypatch.setattr(study, "predictives", None)
    study.main(arguments)
    assert capsys.readouterr().out == first, "finished seeds are read, not run"
