"""The example as a user runs it, at toy size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br

ROOT = Path(__file__).parents[1]


@pytest.fixture
def example(monkeypatch):
    """Imports a script of the examples, beside its neighbours."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


@pytest.fixture
def train_bamf(example):
    return example("train_bamf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A MovieLens folder with few users."""
    folder = tmp_path_factory.mktemp("ml")
    data = br.data.synthetic(n_users=40, n_items=60, length=(10, 20)).interactions
    frame = pd.DataFrame({"userId": data.user, "movieId": data.item, "timestamp": data.timestamp})
    frame.to_csv(folder / "ratings.csv", index=False)
    movies = pd.DataFrame({"movieId": range(60), "title": [f"Film, number {i}" for i in range(60)]})
    movies.to_csv(folder / "movies.csv", index=False)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        [],
        [
            "--energy",
            "prod",
            "--combine",
            "prod",
            "--likelihood",
            "bradley-terry",
            "--l2",
            "0.1",
            "--guide-scale",
            "0.5",
        ],
        ["--guide", "point", "--negatives-exclude", "all"],
        ["--scope", "interaction", "--kl-weight", "0.01", "--kl-reduction", "mean"],
        ["--history", "both", "--dropout", "0.2"],
        ["--history", "item", "--scope", "interaction"],
        ["--max-length", "5"],
        [
            "--guide",
            "weibull",
            "--prior",
            "gamma",
            "--guide-scale",
            "amortised",
            "--values",
            "separate",
        ],
    ],
)
def test_writes_everything(train_bamf, folder, options, tmp_path, capsys):
    out = tmp_path / "out"
    train_bamf.main(["--data", str(folder), "--epochs", "2", "--out", str(out), *options])
    assert sorted(p.name for p in out.iterdir()) == [
        "attention.png", "loss.png", "metrics.json", "model", "posterior.nc", "recommendations.csv",
    ]  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["seed"] == 0
    assert metrics["epochs"] == 2
    assert metrics["seconds_per_epoch"] > 0
    for protocol in ("full", "sampled"):
        assert {"mean", "low", "high"} == set(metrics["protocols"][protocol]["ndcg@10"])
        assert len(metrics["protocols"][protocol]) == 28
    printed = capsys.readouterr().out
    assert ("a leak" in printed) == ("all" in options)
    table = pd.read_csv(out / "recommendations.csv")
    assert table.columns.tolist() == ["user", "rank", "item", "title", "score", "sd"]
    assert len(table) == 400
    assert table["title"].str.startswith("Film, number").all()
    assert "Film, number" in printed
    model = br.load_model(out / "model")
    assert model.score(torch.tensor([0]), torch.tensor([[1, 2]])).isfinite().all()
    assert (model.histories.history.lengths.max() == 5) == ("--max-length" in options)


def test_same_seed_same_figures(train_bamf, folder, tmp_path):
    figures = []
    for run in ("a", "b"):
        train_bamf.main(["--data", str(folder), "--epochs", "1", "--out", str(tmp_path / run)])
        figures.append(json.loads((tmp_path / run / "metrics.json").read_text())["protocols"])
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--energi", "dot"], "unrecognized arguments: --energi"),
        (["--energy", "cosine"], "choose from"),
        (
            ["--data", "no/such/file.csv"],
            "latest-small, 100k, 1m, lastfm, synthetic, or name an existing",
        ),
        (["--guide", "point", "--prior", "lognormal"], "contradict"),
        (["--guide", "point", "--kl-weight", "1"], "--kl-weight means nothing"),
        (["--guide", "point", "--scope", "user"], "--scope means nothing"),
        (["--sides", "both"], "--sides both contradicts --scope user"),
        (["--history", "both", "--strength", "both"], "attend over different entries"),
        (["--history", "item"], "--history item needs --scope interaction"),
        (["--history", "item", "--item-table", "shared"], "no item is attended over"),
        (["--guide-scale", "wide"], "invalid scale value: 'wide'"),
        (["--beta", "2"], "--beta must be in (0, 1]"),
        (["--tau", "0.5"], "--tau must be at least 1"),
        (["--guide-scale", "9"], "must be between 0.001 and 5"),
        (["--prior-scale", "amortised"], "a prior does not see the query"),
        (["--seed", "-1"], "--seed: must not be negative"),
        (["--epochs", "0"], "--epochs: must be at least 1"),
        (["--device", "mps"], "there is none on this machine"),
        (["--user", "who"], "--user, --item and --columns name columns of a ratings file"),
        (["--columns", "user", "item"], "--columns name columns of a ratings file"),
        (["--out", __file__], "is a file, not a folder"),
        (["--l2", "1"], "belongs to --likelihood bradley-terry"),
    ],
)
def test_refuses_unknown_and_contradictory_options(train_bamf, options, message, capsys):
    with pytest.raises(SystemExit) as error:
        train_bamf.main(options)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_bad_data_writes_nothing(train_bamf, tmp_path):
    (tmp_path / "bad.csv").write_text("user,item\n1,\n")
    with pytest.raises(br.data.DataError, match=r"bad\.csv: line 2: column 'item' is empty"):
        train_bamf.main(["--data", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_file_without_titles_or_header(train_bamf, tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(20) for i in rng.choice(40, 12, replace=False)]
    pd.DataFrame(pairs).to_csv(tmp_path / "r.csv", index=False, header=False)
    arguments = ["--data", str(tmp_path / "r.csv"), "--columns", "user", "item"]
    train_bamf.main([*arguments, "--epochs", "1", "--out", str(tmp_path / "o")])
    assert "title" not in pd.read_csv(tmp_path / "o" / "recommendations.csv")


class TestCompareModels:
    def test_compares_all_models_and_resumes(self, example, tmp_path, capsys):
        compare = example("compare_models")
        compare.main(["--smoke", "--out", str(tmp_path)])
        printed = capsys.readouterr().out
        frame = pd.read_csv(tmp_path / "smoke" / "comparison.csv", index_col="model")
        assert set(frame.index) == {*compare.BASELINES, *compare.SETTINGS["tuned"]}
        built = {setting.model.__name__ for setting in compare.SETTINGS["tuned"].values()}
        assert built == set(br.models.__all__) - {"Model"}
        assert (frame["full ndcg@10 low"] <= frame["full ndcg@10 mean"]).all()
        assert (frame["full ndcg@10 mean"] <= frame["full ndcg@10 high"]).all()
        apart = frame.drop("popularity")["full ndcg@10 difference"].isna()
        assert apart.sum() == 1, "all but the one they are compared with"
        assert frame["probability nll mean"].isna().sum() == len(compare.BASELINES)
        assert frame.loc["BAMF", "parameters"] > 60 * 32
        assert (tmp_path / "smoke" / "comparison.md").read_text() in printed
        run = tmp_path / "smoke" / "GMF-0.json"
        before = run.stat().st_mtime_ns
        compare.main(["--smoke", "--out", str(tmp_path), "--models", "GMF"])
        assert run.stat().st_mtime_ns == before
        run.write_text(run.read_text().replace("60 users", "61 users"))
        data = br.data.synthetic(n_users=60, n_items=80, length=(10, 20)).interactions
        other = br.data.split(data, seed=3)
        with pytest.raises(ValueError, match="another split"):
            compare.keep_split(other, run.with_name("split-0.csv"))
        with pytest.raises(ValueError, match="is of another run"):
            compare.main(["--smoke", "--out", str(tmp_path), "--models", "GMF"])

    def test_an_interrupted_run_is_no_result(self, example, tmp_path, monkeypatch):
        compare = example("compare_models")
        ended = br.inference.Fit(None, pd.DataFrame(), 1, "interrupted")
        monkeypatch.setattr(br, "fit", lambda *_, **__: ended)
        with pytest.raises(KeyboardInterrupt):
            compare.main(["--smoke", "--out", str(tmp_path), "--models", "GMF"])
        assert not list((tmp_path / "smoke").glob("GMF*"))

    @pytest.mark.parametrize("split", ["leave-one-out", "timeline"])
    def test_other_splits(self, split, example, folder, tmp_path):
        out = [
            "--models",
            "popularity",
            "GMF",
            "--seeds",
            "2",
            "--epochs",
            "1",
            "--out",
            str(tmp_path),
        ]
        example("compare_models").main(["--data", str(folder), "--split", split, *out])
        frame = pd.read_csv(tmp_path / "comparison.csv", index_col="model")
        assert frame["seeds"].eq(2).all()
        data = br.data.load(folder)
        part = br.data.load_split(data, tmp_path / "split-1.csv")
        popularity = br.baselines.Popularity(part)
        seed = 1001 if split == "leave-one-out" else 1  # stopping has drawn its items with 1
        expected = br.evaluate(popularity, part, ks=(10,), seed=seed).per_user["ndcg@10"]
        report = json.loads((tmp_path / "popularity-1.json").read_text())
        assert report["full"]["ndcg@10"] == pytest.approx(expected.tolist(), abs=1e-6)

    def test_published_settings_train(self, example, folder, tmp_path, capsys):
        out = str(tmp_path)
        arguments = ["--settings", "published", "--negatives-exclude", "all", "--seeds", "1"]
        arguments += ["--epochs", "1", "--models", "BAMF, both histories", "--out", out]
        example("compare_models").main(["--data", str(folder), *arguments])
        assert "a leak" in capsys.readouterr().out

    def test_unknown_model_is_named(self, example, capsys):
        with pytest.raises(SystemExit):
            example("compare_models").main(["--models", "XYZ"])
        assert "no 'XYZ' among 'popularity', 'item k-NN', 'EASE'" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            example("compare_models").main(["--models", "popularity", "--against", "EASE"])
        assert "'EASE' is not among the models" in capsys.readouterr().err


class TestTuneModels:
    def test_starts_from_the_setting_and_resumes(self, example, folder, tmp_path, capsys):
        pytest.importorskip("optuna")
        arguments = ["--data", str(folder), "--models", "affection", "--epochs", "1"]
        arguments += ["--out", str(tmp_path)]
        for trials in ("1", "3", "2"):
            example("tune_models").main([*arguments, "--trials", trials])
        first, more, same = capsys.readouterr().out.splitlines()
        assert "learning_rate 0.002, weight_decay 0.1, dropout 0.2" in first
        assert "of 3;" in more
        assert more == same

    def test_points_differ_and_failures_are_left_behind(
        self, example, folder, tmp_path, monkeypatch, capsys
    ):
        pytest.importorskip("optuna")
        tune = example("tune_models")
        tried = []

        def quality(setting, split, trial, epochs):
            tried.append(tuple(trial.params.values()))
            if len(tried) == 1:
                raise FloatingPointError
            if len(tried) == 3:
                raise KeyboardInterrupt
            trial.set_user_attr("kept epoch", 1)
            return 0.5

        monkeypatch.setattr(tune, "quality", quality)
        arguments = ["--data", str(folder), "--models", "GMF", "--out", str(tmp_path)]
        with pytest.raises(KeyboardInterrupt):
            tune.main([*arguments, "--trials", "4"])
        tune.main([*arguments, "--trials", "5"])
        assert len(set(tried)) == 5, "four points, and a fifth; the interrupted one again"
        assert tried[2] in tried[3:]
        assert "the first failed" in capsys.readouterr().out
