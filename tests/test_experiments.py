"""Comparing and tuning, at toy size, as a user runs them and as code calls them."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayes_recsys as br
from bayes_recsys.evaluation import Evaluation
from bayes_recsys.experiments import BASELINES, SETTINGS, TUNED, Setting, runs, settings, tuning
from bayes_recsys.experiments.comparison import Plan, compare_models, toy_data
from bayes_recsys.experiments.score_options import OF_SCORES, add_scores, scores_of
from bayes_recsys.experiments.tables import markdown, table


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """A ratings file of few users."""
    path = tmp_path_factory.mktemp("ratings") / "toy.csv"
    data = br.data.synthetic(n_users=40, n_items=60, length=(10, 20)).interactions
    frame = pd.DataFrame({"user": data.user, "item": data.item, "timestamp": data.timestamp})
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_be_built_and_is_known_again(name):
    for setting in SETTINGS[name].values():
        setting.options.check()
        record = json.loads(json.dumps(setting.record()))
        assert record == setting.record()
        again = br.models.Options.of_record(record["model"], br.models.Model)
        assert again == setting.options


def test_published_settings_are_those_of_the_public_code():
    bamf = SETTINGS["public-code"]["BAMF, both histories"]
    assert (bamf.objective.kl_weight, bamf.objective.kl_reduction) == (0.01, "mean")
    assert (bamf.training.weight_decay, bamf.training.patience) == (1e-5, 5)
    assert bamf.options.values["history"] == "both"
    assert SETTINGS["public-code"]["affection"].training.pairs == 256


def test_initial_weights_are_the_seed_s(split):
    setting = Setting(br.models.Options(br.models.GMF, {}))
    other = replace(setting, training=replace(setting.training, seed=1))
    first, again, third = (
        one.build(br.data.histories(split)).match.weight for one in (setting, setting, other)
    )
    assert (first == again).all()
    assert (first != third).any()


def test_nothing_that_is_optional_is_imported():
    code = (
        "import sys\n"
        "for name in ('optuna', 'implicit'): sys.modules[name] = None\n"
        "import bayes_recsys.experiments as e\n"
        "from bayes_recsys.experiments import comparison, training, tuning, uncertainty\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_targets_prior_is_the_users_unless_it_is_given():
    parser = argparse.ArgumentParser()
    add_scores(parser.add_argument_group())
    parser.set_defaults(**dict.fromkeys(OF_SCORES))
    given = "--scope interaction --guide lognormal --prior gamma --item-guide weibull"
    of_item = scores_of(parser.parse_args(given.split()))["item_scores"]
    assert [type(of_item.guide), type(of_item.prior)] == [br.Weibull, br.Gamma]


def test_splits_of_seeds_overlap_as_they_are_drawn():
    """An eighth of 8:1:1; hardly where a row of each user is drawn for the test; and what times say is all seeds' own."""
    data = replace(toy_data(), timestamp=None)
    of = {one: Plan(["popularity"], split=one).overlap(data) for one in ("random", "leave-one-out")}
    assert of["random"] == pytest.approx(1 / 8, rel=0.05)
    assert 0 < of["leave-one-out"] < 1 / 8
    assert Plan(["popularity"], split="timeline").overlap(toy_data()) == 0.0
    assert Plan(["popularity"], split="leave-one-out").overlap(toy_data()) == 0.0


class TestCompareModels:
    def test_compares_all_models_and_resumes(self, script, tmp_path, capsys):
        script("compare_models", "--smoke", "--out", tmp_path)
        printed, out = capsys.readouterr().out, tmp_path / "smoke"
        frame = pd.read_csv(out / "comparison.csv", index_col="model")
        assert set(frame.index) == {*BASELINES, *TUNED}
        built = {setting.options.model.__name__ for setting in TUNED.values()}
        ours = {one for one in map(br.models.__dict__.get, br.models.__all__) if is_model(one)}
        assert built == {one.__name__ for one in ours}
        assert (frame["full ndcg@10 low"] <= frame["full ndcg@10 mean"]).all()
        assert (frame["full ndcg@10 mean"] <= frame["full ndcg@10 high"]).all()
        apart = frame.drop("popularity")["full ndcg@10 difference"].isna()
        assert apart.sum() == 1, "all but the one they are compared with"
        ranks = [name for name, one in TUNED.items() if one.objective != br.Objective()]
        without = frame.index[frame["probability nll mean"].isna()]
        assert set(without) == {*BASELINES, *ranks}
        assert frame.loc["BAMF", "parameters"] > 60 * 32
        assert (out / "comparison.md").read_text() in printed
        run = out / "GMF-0" / "run.json"
        before = run.stat().st_mtime_ns
        script("compare_models", "--smoke", "--out", tmp_path, "--models", "GMF")
        assert run.stat().st_mtime_ns == before

    def test_refuses_what_is_of_another_run(self, script, tmp_path):
        plan, out = Plan(["popularity"], seeds=1), tmp_path / "smoke"
        compare_models(toy_data(), plan, out)
        run = out / "popularity-0" / "run.json"
        right = run.read_text()
        run.write_text(right.replace("60 users", "61 users"))
        with pytest.raises(SystemExit) as error:
            script("compare_models", "--smoke", "--out", tmp_path, "--models", "popularity")
        assert "is of another run (data Interactions('synthetic': " in error.value.code
        run.write_text(right[:50])
        with pytest.raises(ValueError, match="damaged, or no JSON"):
            compare_models(toy_data(), plan, out)
        run.write_text("{}")
        with pytest.raises(ValueError, match="is no run of a comparison"):
            compare_models(toy_data(), plan, out)
        run.write_text(right)
        (run.parent / "full.json").unlink()
        with pytest.raises(ValueError, match=r"has no full\.json"):
            compare_models(toy_data(), plan, out)
        other = br.data.split(toy_data(), seed=3)
        with pytest.raises(ValueError, match="another split"):
            runs.keep_split(other, out / "split-0.csv")

    def test_refuses_runs_that_ranked_other_cases(self, tmp_path):
        data, plan = toy_data(), Plan(["popularity", "EASE"], seeds=1)
        compare_models(data, plan, tmp_path)
        path = tmp_path / "popularity-0" / "sampled.json"
        split = br.data.split(data, seed=0)
        popularity = br.baselines.Popularity(split)
        same, other = (
            br.evaluate(popularity, split, protocol="sampled", ks=(10,), seed=seed)
            for seed in (0, 5)
        )
        assert Evaluation.load(path).cases == same.cases != other.cases
        other.save(path)
        with pytest.raises(ValueError, match="did not rank the same cases"):
            compare_models(data, plan, tmp_path)

    def test_an_interrupted_run_is_no_result(self, script, tmp_path, monkeypatch):
        ended = br.inference.Fit(None, pd.DataFrame(), 1, "interrupted", 0.5)
        monkeypatch.setattr(settings, "fit", lambda *_, **__: ended)
        with pytest.raises(SystemExit) as error:
            script("compare_models", "--smoke", "--out", tmp_path, "--models", "GMF")
        assert error.value.code.startswith("interrupted: finished runs are kept")
        assert not list((tmp_path / "smoke").glob("GMF*"))

    @pytest.mark.parametrize("kind", ["leave-one-out", "timeline"])
    def test_other_splits(self, kind, script, ratings, tmp_path):
        given = ["--data", ratings, "--split", kind, "--models", "popularity", "GMF"]
        script("compare_models", *given, "--seeds", 2, "--epochs", 1, "--out", tmp_path)
        frame = pd.read_csv(tmp_path / "comparison.csv", index_col="model")
        assert frame["seeds"].eq(2).all()
        part = br.data.load_split(br.data.load(ratings), tmp_path / "split-1.csv")
        popularity = br.baselines.Popularity(part)
        expected = br.evaluate(popularity, part, protocol="sampled", ks=(10,), seed=1)
        kept = Evaluation.load(tmp_path / "popularity-1" / "sampled.json")
        pd.testing.assert_frame_equal(kept.per_user, expected.per_user)
        assert kept.cases == expected.cases

    def test_published_settings_train(self, script, ratings, tmp_path, capsys):
        given = ["--as", "public-code", "--negatives-exclude", "all", "--seeds", 1]
        given += ["--epochs", 1, "--models", "BAMF, both histories", "--out", tmp_path]
        script("compare_models", "--data", ratings, *given)
        assert "a leak" in capsys.readouterr().out

    def test_a_model_without_probabilities_is_compared_by_ranking(self, split):
        pairwise = Setting(
            br.models.Options(br.models.GMF, {}),
            br.Objective(br.BradleyTerry()),
            br.Training(max_epochs=1),
        )
        run = runs.measure(pairwise, split, 0, {})
        assert set(run.evaluations) == {"full", "sampled"}
        frame = table({"GMF": [run]}, "GMF", overlap=0.0)
        assert "| GMF | 0." in markdown(frame, "GMF")
        assert np.isnan(frame.loc["GMF", "calibration error"])

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (["--models", "XYZ"], "no 'XYZ' among 'popularity', 'item k-NN', 'EASE'"),
            (["--models", "popularity", "--against", "EASE"], "'EASE' is not among the models"),
            (["--seeds", "0"], "seeds and epochs must be at least 1"),
        ],
    )
    def test_what_makes_no_plan_is_named(self, given, message, script, capsys):
        with pytest.raises(SystemExit) as error:
            script("compare_models", *given)
        assert error.value.code == 2
        assert message in capsys.readouterr().err


def is_model(one):
    return isinstance(one, type) and issubclass(one, br.models.Model) and one is not br.models.Model


class TestTuneModels:
    def test_starts_from_the_setting_and_resumes(self, script, ratings, tmp_path, capsys):
        pytest.importorskip("optuna")
        given = ["--data", ratings, "--models", "affection", "--epochs", 1, "--out", tmp_path]
        for trials in (1, 3, 2):
            script("tune_models", *given, "--trials", trials)
        first, more, same = capsys.readouterr().out.splitlines()
        assert "learning_rate 0.002, weight_decay 0.1, dropout 0.2" in first
        assert "of 3;" in more
        assert more == same

    def test_points_differ_and_failures_are_left_behind(
        self, script, ratings, tmp_path, monkeypatch, capsys
    ):
        pytest.importorskip("optuna")
        tried = []

        def quality(way, parts, trial, epochs):
            tried.append(tuple(trial.params.values()))
            if len(tried) == 1:
                raise FloatingPointError
            if len(tried) == 3:
                raise KeyboardInterrupt
            trial.set_user_attr("kept epoch", 1)
            return 0.5

        monkeypatch.setattr(tuning, "quality", quality)
        given = ["--data", ratings, "--models", "GMF", "--out", tmp_path]
        with pytest.raises(SystemExit, match="interrupted: finished trials are kept"):
            script("tune_models", *given, "--trials", 4)
        script("tune_models", *given, "--trials", 5)
        assert len(set(tried)) == 5, "four points, and a fifth; the interrupted one again"
        assert tried[2] in tried[3:]
        assert "the first failed" in capsys.readouterr().out

    def test_a_point_is_what_is_trained_with(self):
        point = {"learning_rate": 0.005, "weight_decay": 0.3, "dropout": 0.5}
        way = tuning.with_point(TUNED["DRNet"], point, epochs=7)
        assert way.options.values == {**TUNED["DRNet"].options.values, "dropout": 0.5}
        expected = {"learning_rate": 0.005, "weight_decay": 0.3, "max_epochs": 7, "patience": 5}
        assert way.training == replace(TUNED["DRNet"].training, **expected)
        assert tuning.with_point(BASELINES["EASE"], {"l2": 3.0}, 1).options == {"l2": 3.0}

    def test_a_baseline_is_tuned(self, ratings, tmp_path, capsys):
        pytest.importorskip("optuna")
        tuning.tune(br.data.load(ratings), ["EASE"], trials=2, epochs=1, out=tmp_path)
        assert "EASE: 0." in capsys.readouterr().out


def test_nothing_of_an_earlier_run_stays(tmp_path):
    """A model that knew probabilities, and one in its folder that knows none."""
    data = toy_data()
    parts = br.data.split(data, seed=0)
    options = br.models.Options(br.models.GMF, {})
    for likelihood, kinds in ((br.Bernoulli(), 3), (br.BradleyTerry(), 2)):
        way = Setting(options, br.Objective(likelihood), br.Training(max_epochs=1))
        runs.measure(way, parts, 0, {"of": str(likelihood)}).save(tmp_path)
        there = runs.Run.load(tmp_path, {"of": str(likelihood)})
        assert len(there.evaluations) == kinds
