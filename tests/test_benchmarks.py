"""The studies behind the documentation, at toy size."""

import importlib
import json
import math
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch

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
    monkeypatch.setattr(study, "aurc", partial(study.aurc, resamples=20))
    arguments = ["--data", str(ratings), "--seeds", "2", "--epochs", "1", "--out", str(tmp_path)]
    study.main([*arguments, "--figure", str(tmp_path / "figure.png")])
    first = capsys.readouterr().out
    columns = "random scores | random scores, 5 draws | no random scores | ensemble of 2 | dropout"
    assert f"|  | {columns} |" in first
    assert f"| gain by | {columns} | popularity |" in first
    assert "| doubt, within tenths of history |" in first
    assert "40 users are tested; half of them have more than" in first
    report = json.loads((tmp_path / "0.json").read_text())
    assert set(report["dropout"]["per user"]) >= {"ndcg@10", "nll", "brier", "spread"}
    assert report["no random scores"]["expected"]["raw"] > 1
    split = br.data.split(br.data.load(ratings), seed=0)
    lengths = split.items_by_user("train").lengths[split.items_by_user("test").lengths > 0]
    assert report["dropout"]["per user"]["short history"] == (-lengths).tolist()
    assert (tmp_path / "figure.png").stat().st_size > 0
    assert sum(report["dropout"]["per user"]["nll of pairs"]) / len(lengths) == pytest.approx(
        pairs_alike(study, tmp_path, split)
    )
    (tmp_path / "1.json").unlink()
    monkeypatch.setattr(br, "fit", None)
    study.main(arguments)
    assert capsys.readouterr().out == first, "fitted models are read, not fitted again"
    monkeypatch.setattr(study, "predictives", None)
    study.main(arguments)
    with pytest.raises(ValueError, match="of another study"):
        study.main([*arguments, "--history", "both"])
    capsys.readouterr()
    study.main(arguments)
    assert capsys.readouterr().out == first, "finished seeds are read, not run"


def pairs_alike(study, folder, split):
    model = br.load_model(folder / "dropout-0")
    pairs = study.predicted_pairs(br.MCDropout(model, seed=0), split, seed=0)
    return -pairs["log_likelihood"].mean()


def test_expected_choices_are_right_for_a_model_that_knows_the_base_rate_only(benchmark):
    """It says 1 in 5, as it was trained with four negatives; corrected, as many as there are."""
    study = benchmark("uncertainty")
    split = br.data.split(br.data.synthetic(n_users=200, n_items=300, length=(30, 60)).interactions)

    class BaseRate:
        def draw_logits(self, user, item):
            return torch.full((2, *item.shape), -math.log(4))

    expected = study.expected_choices(BaseRate(), split, seed=0)
    assert expected["corrected"] == pytest.approx(1, abs=0.05)
    fresh = 300 - split.items_by_user("train", "validation").lengths.double()
    assert expected["raw"] * len(split.test) == pytest.approx(0.2 * fresh.sum().item(), rel=1e-6)


def test_an_interrupted_row_is_no_result(benchmark, ratings, tmp_path, monkeypatch, capsys):
    study = benchmark("scores")
    out = tmp_path / "rows"
    arguments = [
        "scores",
        "formulations",
        "--data",
        str(ratings),
        "--seeds",
        "1",
        "--out",
        str(out),
    ]
    monkeypatch.setattr("sys.argv", [*arguments, "--rows", "Pont"])
    with pytest.raises(SystemExit):
        study.main()
    assert "no 'Pont' among" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*arguments, "--rows", "Point"])
    half = br.inference.Fit(None, pd.DataFrame({"seconds": [1.0]}), 0, "interrupted")
    monkeypatch.setattr(br, "fit", lambda *_, **__: half)
    with pytest.raises(KeyboardInterrupt):
        study.main()
    assert not list(out.iterdir())


def test_table_refuses_two_of_the_same_name(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("table").main(["--data", "a/ratings.csv", "b/ratings.csv"])
    assert "would share a folder" in capsys.readouterr().err
