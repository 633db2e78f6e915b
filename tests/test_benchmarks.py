"""The studies behind the documentation, at toy size."""

import importlib
import json
import math
import re
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.evaluation import Evaluation
from bayes_recsys.experiments import settings, uncertainty

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark():
    """Imports a script of the benchmarks."""
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def ratings(tmp_path):
    return written(tmp_path, n_users=40)


def written(folder, n_users):
    """A ratings file."""
    data = br.data.synthetic(n_users=n_users, n_items=60, length=(10, 20)).interactions
    frame = pd.DataFrame({"user": data.user, "item": data.item, "timestamp": data.timestamp})
    frame.to_csv(folder / "toy.csv", index=False)
    return folder / "toy.csv"


def test_scripts_need_the_package_alone(tmp_path):
    """Nothing of the repository is on the path, and the scripts do not put it there."""
    code = "import runpy, sys; [runpy.run_path(script) for script in sys.argv[1:]]"
    scripts = [str(path) for path in (ROOT / "benchmarks").glob("*.py")]
    assert len(scripts) == 12
    subprocess.run([sys.executable, "-I", "-c", code, *scripts], cwd=tmp_path, check=True)


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "tests"])
def test_nothing_is_imported_by_path(folder):
    for path in (ROOT / folder).glob("*.py"):
        text = path.read_text()
        assert not re.search(r"sys\.path\.|syspath_" + "prepend", text), path


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


def test_table_refuses_two_of_the_same_name_and_unknown_models(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("table").main(["--data", "a/ratings.csv", "b/ratings.csv"])
    assert "would share a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        benchmark("table").main(["--models", "XYZ"])
    assert "no 'XYZ' among" in capsys.readouterr().err


def test_uncertainty_reports_all_predictives(benchmark, tmp_path, monkeypatch, capsys):
    study, ratings = benchmark("uncertainty"), written(tmp_path, n_users=12)
    monkeypatch.setattr(study, "aurc", partial(study.aurc, resamples=5))
    for name in ("MCDropout", "Posterior"):
        monkeypatch.setattr(uncertainty, name, partial(getattr(br, name), draws=5))
    monkeypatch.setattr(uncertainty, "SAMPLE", 20)
    arguments = ["--data", str(ratings), "--seeds", "2", "--epochs", "1", "--members", "2"]
    arguments += ["--out", str(tmp_path)]
    study.main([*arguments, "--figure", str(tmp_path / "figure.png")])
    first = capsys.readouterr().out
    columns = "random scores | random scores, 2 draws | no random scores | ensemble of 2 | dropout"
    assert f"|  | {columns} |" in first
    assert f"| gain by | {columns} | popularity |" in first
    assert "| doubt, within tenths of history |" in first
    assert "| doubt, with levels |" in first
    assert "| NLL, all pairs alike, with levels |" in first
    assert "12 users are tested; half of them have more than" in first
    kept = Evaluation.load(tmp_path / "evaluations-0" / "dropout.json")
    assert set(kept.per_user) >= {"ndcg@10", "nll", "brier", "spread"}
    report = json.loads((tmp_path / "0.json").read_text())
    assert report["no random scores"]["expected"]["raw"] > 1
    split = br.data.split(br.data.load(ratings), seed=0)
    lengths = split.items_by_user("train").lengths[split.items_by_user("test").lengths > 0]
    assert kept.per_user["short history"].tolist() == (-lengths).tolist()
    assert (tmp_path / "figure.png").stat().st_size > 0
    assert kept.per_user["nll of pairs"].mean() == pytest.approx(pairs_alike(tmp_path, split))
    (tmp_path / "1.json").unlink()
    monkeypatch.setattr(settings, "fit", None)
    study.main(arguments)
    assert capsys.readouterr().out == first, "fitted models are read, not fitted again"
    monkeypatch.setattr(uncertainty.Study, "predictives", None)
    study.main(arguments)
    with pytest.raises(ValueError, match="of another study"):
        study.main([*arguments, "--model", "BAMF, both histories"])
    capsys.readouterr()
    study.main(arguments)
    assert capsys.readouterr().out == first, "finished seeds are read, not run"
    other = br.evaluate(br.baselines.Popularity(split), split, part="validation", ks=(10,))
    Evaluation("full", "test", kept.per_user, kept.catalogue, other.cases).save(
        tmp_path / "evaluations-0" / "dropout.json"
    )
    with pytest.raises(ValueError, match="did not rank the same cases"):
        study.main(arguments)


def test_uncertainty_of_what_only_ranks_is_that_with_levels(
    benchmark, tmp_path, monkeypatch, capsys
):
    study, ratings = benchmark("uncertainty"), written(tmp_path, n_users=12)
    monkeypatch.setattr(study, "aurc", partial(study.aurc, resamples=5))
    arguments = ["--data", str(ratings), "--seeds", "2", "--epochs", "1", "--members", "2"]
    arguments += ["--model", "item similarity", "--out", str(tmp_path / "out")]
    study.main([*arguments, "--figure", str(tmp_path / "figure.png")])
    printed = capsys.readouterr().out
    assert (
        "|  | random scores | random scores, 2 draws | no random scores | ensemble of 2 |"
        in printed
    )
    assert "| NLL, with levels |" in printed
    assert "| calibration error, with levels (if right) |" in printed
    assert "| NLL |" not in printed
    assert "| doubt, with levels |" in printed


def pairs_alike(folder, split):
    model = br.load_model(folder / "dropout-0")
    pairs = br.evaluation.predicted_pairs(br.MCDropout(model, draws=5, seed=0), split, seed=0)
    return -pairs["log_likelihood"].mean()


def test_expected_choices_are_right_for_a_model_that_knows_the_base_rate_only():
    """It says 1 in 5, as it was trained with four negatives; corrected, as many as there are."""
    split = br.data.split(br.data.synthetic(n_users=200, n_items=300, length=(30, 60)).interactions)

    class BaseRate:
        def draw_logits(self, user, item):
            return torch.full((2, *item.shape), -math.log(4))

    expected = uncertainty.expected_choices(BaseRate(), split, seed=0)
    assert expected["corrected"] == pytest.approx(1, abs=0.05)
    fresh = 300 - split.items_by_user("train", "validation").lengths.double()
    assert expected["raw"] * len(split.test) == pytest.approx(0.2 * fresh.sum().item(), rel=1e-6)


def test_an_interrupted_row_is_no_result(benchmark, ratings, tmp_path, monkeypatch, capsys):
    study = benchmark("scores")
    out = tmp_path / "rows"
    arguments = ["formulations", "--data", str(ratings), "--seeds", "1", "--out", str(out)]
    with pytest.raises(SystemExit):
        study.main([*arguments, "--rows", "Pont"])
    assert "no 'Pont' among" in capsys.readouterr().err
    half = br.inference.Fit(None, pd.DataFrame({"seconds": [1.0]}), 0, "interrupted", 0.5)
    monkeypatch.setattr(settings, "fit", lambda *_, **__: half)
    with pytest.raises(KeyboardInterrupt):
        study.main([*arguments, "--rows", "Point"])
    assert not list(out.iterdir())


def test_rows_of_scores_are_kept(benchmark, ratings, tmp_path, monkeypatch, capsys):
    study = benchmark("scores")
    arguments = ["formulations", "--data", str(ratings), "--seeds", "1", "--epochs", "1"]
    arguments += ["--rows", "Point", "published, tempered", "--out", str(tmp_path / "rows")]
    study.main([*arguments, "--figure", str(tmp_path / "figure.png")])
    first = capsys.readouterr().out
    assert "| published, tempered | 0." in first
    assert (tmp_path / "figure.png").stat().st_size > 0
    monkeypatch.setattr(settings, "fit", None)
    study.main(arguments)
    assert first.endswith(capsys.readouterr().out), "read, not trained again"
    with pytest.raises(ValueError, match="is of another run"):
        study.main([*arguments, "--epochs", "2"])


def test_speed_compares_in_one_run(ratings, tmp_path):
    """As a command: its ways are processes of their own."""
    out = tmp_path / "speed.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), "--data", str(ratings)]
    command += ["--rows", "default", "--threads", "1", "--rounds", "1", "--share", "0.2"]
    command += ["--json", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    report = json.loads(out.read_text())
    row = report["rows"]["default, 1 threads"]
    assert {"speedup_over_padded", "pyro_overhead", "peak_memory_ratio"} < set(row)
    assert row["fraction_of_floor"] > 0


def test_plain_is_the_same_mathematics_as_ours(benchmark, split):
    """Loss and gradients, by the same draws, of every model that is compared."""
    speed = benchmark("speed")
    for options in speed.ROWS.values():
        study, found = speed.Study(split, options, 8), []
        study.model.likelihood = study.objective.likelihood
        batch = next(study.batches.epoch(1))
        for way in ("ours", "plain"):
            torch.manual_seed(1)
            study.model.zero_grad()
            if way == "ours":
                loss = study.objective.loss_and_grads(study.model, batch)
            else:
                loss = study._plain(batch) * batch.scale
                loss.backward()
            found.append(
                [torch.as_tensor(loss).detach(), *(p.grad for p in study.model.parameters())]
            )
        for ours, plain in zip(*found, strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_scaling_fits_exponents(benchmark):
    scaling = benchmark("scaling")
    rows = pd.DataFrame([scaling.measure(size, 2, 10) for size in (2000, 4000)])
    assert set(scaling.COLUMNS) < set(rows)
    assert (rows > 0).all(axis=None)
    rows["epoch"] = rows["interactions"] ** 1.5
    assert scaling.exponents(rows)["epoch"] == pytest.approx(1.5)
    assert "| exponent |" in scaling.table(rows)
    assert len(scaling.picture(rows).axes) == 2


def test_contention_times_an_epoch(benchmark, ratings):
    before = torch.get_num_threads()
    assert benchmark("contention").train(str(ratings), 1, 1) > 0
    torch.set_num_threads(before)


def test_runs_reads_what_train_bamf_leaves(benchmark, ratings, tmp_path, capsys):
    command = [sys.executable, str(ROOT / "examples" / "train_bamf.py"), "--data", str(ratings)]
    command += ["--epochs", "1", "--out", str(tmp_path / "bamf")]
    subprocess.run(command, check=True, capture_output=True)
    benchmark("runs").main([str(tmp_path / "bamf")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| toy, popularity", "| toy, bamf"]


def test_nuts_compares_a_guide_with_the_exact_posterior(benchmark, tmp_path, monkeypatch, capsys):
    study = benchmark("nuts")
    monkeypatch.setattr(study, "FAMILIES", (br.LogNormal,))
    monkeypatch.setattr(study, "WIDTHS", {"learned": "black"})
    arguments = ["--users", "3", "--length", "5", "12", "--epochs", "3", "--steps", "100"]
    arguments += ["--draws", "150", "--figure", str(tmp_path / "figure.png")]
    study.main(arguments)
    row = eval(capsys.readouterr().out.splitlines()[0], {"inf": math.inf, "nan": math.nan})
    assert row["scores"] >= 15
    assert row["mean gap / sd"] < 1.5, "the guide is near what NUTS says"
    assert 0.5 < row["sd ratio"] < 2
    assert math.isfinite(row["k-hat"])
    assert row["least ESS"] > 0
    assert (tmp_path / "figure.png").stat().st_size > 0


def test_nuts_takes_a_saved_model(benchmark, histories, tmp_path, capsys):
    torch.manual_seed(0)
    br.save_model(br.models.BAMF(histories, embedding_dim=4), tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--users", "2", "--draws", "20"]
    benchmark("nuts").main([*arguments, "--steps", "5"])
    assert "k-hat" in capsys.readouterr().out


def test_calibration_covers_more_the_wider_the_interval(benchmark, tmp_path, monkeypatch, capsys):
    study = benchmark("calibration")
    monkeypatch.setattr(study, "FAMILIES", (br.Gamma,))
    monkeypatch.setattr(study, "WIDTHS", ("learned",))
    study.main(["--users", "20", "--pairs", "20", "--steps", "20"])
    row = eval(capsys.readouterr().out.splitlines()[0])
    half, most = (float(row[level].split(" ±")[0]) for level in ("50 %", "90 %"))
    assert 0.2 < half < most < 1


def test_designs_hold_guide_and_exact_draws_against_the_truth(benchmark, capsys):
    study = benchmark("designs")
    few = ["--users", "12", "--draws", "20", "--steps", "5", "--pairs", "10"]
    study.main([*few, "--designs", "gamma scores", "choices become history"])
    rows = [eval(line[line.index("{") :]) for line in capsys.readouterr().out.splitlines()[:2]]
    for row in rows:
        assert 0.5 < float(row["exact"].split(" ±")[0]) <= 1
        assert -1 <= float(row["correlation: guide"]) <= 1


def test_divergences_agree_with_quadrature(benchmark, monkeypatch, capsys):
    study = benchmark("kl")
    monkeypatch.setattr(study, "GUIDE_SCALES", (0.5,))
    monkeypatch.setattr(study, "PRIOR_SCALES", (1.0,))
    monkeypatch.setattr(study, "SHIFTS", study.SHIFTS[::3])
    study.main([])
    errors = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(errors) == 9
    assert max(errors) < 1e-4


def test_tables_times_steps_of_both_kinds(benchmark, capsys):
    benchmark("tables").main(["--rows", "4000", "--steps", "2"])
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|") == 5
    assert all(float(cell) > 0 for cell in row.split("|")[2:-1])
