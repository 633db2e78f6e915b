"""The examples as a user runs them, at toy size."""

import json
import os
import re
import signal
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.experiments import options, ratings, settings, training


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


TRAINED = {
    "defaults": "",
    "pairwise": "--energy prod --combine prod --likelihood bradley-terry --penalty 1e-4 --guide-scale 0.5",
    "point, leaking": "--guide point --negatives-exclude all",
    "tempered": "--scope interaction --kl-weight 0.01 --kl-reduction mean --kl-warmup 2",
    "both histories": "--history both --dropout 0.2",
    "audience": "--history item --scope interaction",
    "short": "--max-length 5",
    "mixed": "--guide weibull --prior gamma --guide-scale amortised --values separate",
}


@pytest.mark.parametrize("given", TRAINED.values(), ids=TRAINED)
def test_writes_everything(script, folder, given, tmp_path, capsys):
    out = tmp_path / "out"
    script("train_bamf", "--data", folder, "--epochs", 2, "--out", out, *given.split())
    assert sorted(p.name for p in out.iterdir()) == [
        "attention.png", "history.csv", "loss.png", "metrics.json", "model", "posterior.nc", "recommendations.csv",
    ]  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["seed"] == 0
    assert metrics["epochs"] == 2
    assert metrics["seconds_per_epoch"] > 0
    for protocol in ("full", "sampled"):
        assert {"mean", "low", "high"} == set(metrics["protocols"][protocol]["ndcg@10"])
        assert len(metrics["protocols"][protocol]) == 28
    printed = capsys.readouterr().out
    assert ("a leak" in printed) == ("all" in given)
    unit = "comparison" if "bradley-terry" in given else "pair"
    assert f"Test items against as many negatives as in training, nats a {unit}:" in printed
    sources = ["posterior"] if "point" in given else ["posterior", "prior"]
    assert list(metrics["nll"]) == sources
    assert all(
        f"{metrics['nll'][one]:.4f} with scores from the {one}" in printed for one in sources
    )
    table = pd.read_csv(out / "recommendations.csv")
    assert table.columns.tolist() == ["user", "rank", "item", "title", "score", "sd"]
    assert len(table) == 400
    assert table["title"].str.startswith("Film, number").all()
    assert "Film, number" in printed
    model = br.load_model(out / "model")
    assert model.score(torch.tensor([0]), torch.tensor([[1, 2]])).isfinite().all()
    assert (model.histories.history.lengths.max() == 5) == ("--max-length" in given)
    assert metrics["options"]["model"] == model.options.record()


def test_same_seed_same_figures(script, folder, tmp_path):
    figures = []
    for out in ("a", "b"):
        script("train_bamf", "--data", folder, "--epochs", 1, "--out", tmp_path / out)
        figures.append(json.loads((tmp_path / out / "metrics.json").read_text())["protocols"])
    assert figures[0] == figures[1]


REFUSED = [
    ("--energi dot", "unrecognized arguments: --energi"),
    ("--energy cosine", "choose from"),
    ("--data no/such/file.csv", "latest-small, 100k, 1m, lastfm, synthetic, or name an existing"),
    ("--guide point --prior lognormal", "contradict"),
    ("--prior point", "contradict"),
    ("--guide point --kl-weight 1", "--kl-weight means nothing"),
    ("--guide point --kl-warmup 3", "--kl-warmup means nothing"),
    ("--guide point --kl-reduction sum", "--kl-reduction means nothing"),
    ("--guide point --scope user", "--scope means nothing"),
    ("--item-guide gamma", "which are not random here"),
    ("--guide point --item-prior gamma", "--item-prior means nothing"),
    ("--guide point --sides both", "--sides means nothing"),
    ("--guide point --prior-mean learned", "--prior-mean means nothing"),
    ("--guide point --guide-scale 1", "--guide-scale means nothing"),
    ("--guide point --prior-scale 1", "--prior-scale means nothing"),
    ("--sides both", "add --scope interaction"),
    ("--sides item", "add --scope interaction"),
    ("--history both --strength both", "attend over different entries"),
    ("--history item", "scope='user', one score for all of a user's targets, contradicts"),
    ("--history item --item-table shared --scope interaction", "no item is attended over"),
    ("--guide-scale wide", "invalid scale value: 'wide'"),
    ("--beta 2", "beta must be in (0, 1]"),
    ("--beta nan", "beta must be finite"),
    ("--tau 0.5", "tau must be at least 1"),
    ("--dropout 1", "dropout must be in [0, 1)"),
    ("--embedding-dim 0", "(embedding_dim) must have a length of at least 1"),
    ("--max-length 0", "--max-length: must be at least 1"),
    ("--guide-scale 9", "must be between 0.001 and 5"),
    ("--prior-scale amortised", "a prior does not see the query"),
    ("--seed -1", "seed must be a whole number of at least 0"),
    ("--epochs 0", "max_epochs must be a whole number of at least 1"),
    ("--patience 0", "patience must be a whole number of at least 1"),
    ("--negatives 0", "negatives must be a whole number of at least 1"),
    ("--learning-rate 0", "learning_rate must be a finite number above 0"),
    ("--weight-decay -1", "weight_decay must be a finite number of at least 0"),
    ("--kl-weight 0", "kl_weight must be positive"),
    ("--kl-warmup 0", "epochs must be a finite number above 0"),
    ("--penalty -1", "penalty must be a finite number of at least 0"),
    ("--device mps", "is not on this machine"),
    ("--user who", "say how a ratings file reads"),
    ("--columns user item", "say how a ratings file reads"),
    ("--data synthetic --min-rating 3", "the synthetic data has no ratings"),
    (f"--out {__file__}", "is a file, not a folder"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_refuses_unknown_and_contradictory_options(script, given, message, capsys, monkeypatch):
    monkeypatch.setattr(ratings, "load", None)  # before any data is read
    with pytest.raises(SystemExit) as error:
        script("train_bamf", *given.split())
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_not_given_is_left_to_the_objects():
    found = options.parse(["--data", "synthetic"]).setting
    assert found.record() == settings.Setting(br.models.Options(br.models.BAMF, {})).record()
    found = options.parse(["--data", "synthetic", "--penalty", "0.1"]).setting
    assert found.training == br.Training()
    assert found.training.decay(found.objective) == 0


def test_help_names_the_defaults(script, capsys):
    with pytest.raises(SystemExit):
        script("train_bamf", "--help")
    text = " ".join(capsys.readouterr().out.split())
    for default in ("smoothing, in (0, 1] (default: 0.5)", "step size (default: 0.002)"):
        assert default in text
    assert "None" not in text


@dataclass(frozen=True)
class Narrow(br.LogNormal):
    """A family of one's own."""


def test_a_family_of_ones_own_is_found():
    given = ["--data", "synthetic", "--guide", "narrow", "--prior-scale", "2"]
    scores = options.parse(given).setting.options.values["user_scores"]
    assert scores == br.Scores(Narrow("learned"), Narrow(2.0))


def test_bad_data_writes_nothing(script, tmp_path):
    (tmp_path / "bad.csv").write_text("user,item\n1,\n")
    with pytest.raises(SystemExit) as error:
        script("train_bamf", "--data", tmp_path / "bad.csv", "--out", tmp_path / "out")
    assert "bad.csv: line 2: column 'item' is empty" in error.value.code
    assert not (tmp_path / "out").exists()


def test_data_without_a_test_item_is_refused(script, tmp_path):
    (tmp_path / "r.csv").write_text("user,item\n" + "".join(f"{u},{u}\n" for u in range(9)))
    with pytest.raises(SystemExit) as error, pytest.warns(br.data.DataWarning, match="too few"):
        script("train_bamf", "--data", tmp_path / "r.csv", "--out", tmp_path / "out")
    assert error.value.code == "error: no user has enough interactions (6) for a test item"


def test_a_file_without_titles_or_header(script, tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(20) for i in rng.choice(40, 12, replace=False)]
    pd.DataFrame(pairs).to_csv(tmp_path / "r.csv", index=False, header=False)
    given = ["--data", tmp_path / "r.csv", "--columns", "user", "item"]
    script("train_bamf", *given, "--epochs", 1, "--out", tmp_path / "o")
    assert "title" not in pd.read_csv(tmp_path / "o" / "recommendations.csv")


def test_an_interrupted_run_is_gone_on_from(script, folder, tmp_path, monkeypatch, capsys):
    """It ends with a status that says so; its folder refuses another run, and takes the rest of this one."""
    given = ["train_bamf", "--data", folder, "--epochs", 3, "--out"]
    script(*given, tmp_path / "straight")
    capsys.readouterr()
    state = br.inference.State
    step = state.step

    def interrupted(self, *arguments):
        step(self, *arguments)
        if (self.epoch, self.position) == (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text("yesterday's")
    monkeypatch.setattr(state, "step", interrupted)
    with pytest.raises(SystemExit, match="interrupted: the same command with --resume"):
        script(*given, tmp_path / "run")
    monkeypatch.undo()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoint.pt", "metrics.json"}
    assert not (tmp_path / "run" / "model").exists(), "nothing of now beside yesterday's"
    with pytest.raises(SystemExit):
        script(*given, tmp_path / "run")
    assert "an interrupted run is there" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script(*given, tmp_path / "elsewhere", "--resume")
    assert "no interrupted run left" in capsys.readouterr().err
    script(*given, tmp_path / "run", "--resume")
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    one, other = (br.load_model(tmp_path / name / "model") for name in ("straight", "run"))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_yesterdays_results_do_not_stand_beside_a_model_of_now(
    script, folder, tmp_path, monkeypatch
):
    """Ended between the one and the other, they are gone, and the run can be gone on from."""
    out, given = tmp_path / "run", ["train_bamf", "--data", folder, "--epochs", 1, "--out"]
    script(*given, out)
    monkeypatch.setattr(training, "ranking", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        script(*given, out)
    assert {path.name for path in out.iterdir()} == {
        "checkpoint.pt",
        "history.csv",
        "loss.png",
        "model",
    }
    monkeypatch.undo()
    script(*given, out, "--resume")
    assert (out / "metrics.json").exists()


class TestScriptsToCopy:
    @pytest.mark.filterwarnings("ignore:the scores of")
    @pytest.mark.parametrize("model", ["BAMF", "NAIS", "association", "DRNet", "DELF"])
    def test_swap_priors(self, model, script, folder, capsys):
        given = ["--guide", "weibull", "--prior", "gamma", "lognormal"]
        script("swap_priors", "--data", folder, "--epochs", 1, "--model", model, *given)
        printed = capsys.readouterr().out
        assert all(f"weibull guide, {prior} prior" in printed for prior in ("gamma", "lognormal"))

    def test_why_this_item(self, script, folder, capsys):
        script("why_this_item", "--data", folder, "--user", 7, "--epochs", 2)
        printed = capsys.readouterr().out
        assert "for user 7, as they chose" in printed
        assert printed.count("Film, number") >= 5

    def test_how_sure(self, script, folder, capsys):
        script("how_sure", "--data", folder, "--epochs", 2)
        printed = capsys.readouterr().out
        assert printed.count(", p = 0.") == 8
        assert "of the quarter least in doubt" in printed

    def test_best_model_is_compared_and_explained(self, script, folder, tmp_path, capsys):
        script("best_model", "--data", folder, "--epochs", 2, "--out", tmp_path)
        printed = capsys.readouterr().out
        assert printed.count("item similarity") == 2
        total, bias, rest = re.search(
            r"Film, number \d+ for user \w+: (\S+) = (\S+) of its own\nand (\S+) of", printed
        ).groups()
        assert float(total) == pytest.approx(float(bias) + float(rest), abs=0.011)
        assert br.load_model(tmp_path / "model").options.values["kernel"] >= 0

    def test_plain_svi(self, script, folder, capsys):
        script("plain_svi", "--data", folder, "--epochs", 2)
        assert "epoch 2: negative ELBO of the data" in capsys.readouterr().out

    def test_stop_and_resume_is_as_if_there_was_no_stop(self, script, folder, tmp_path, capsys):
        losses = []
        for name, stops in (("a", [1, 2]), ("b", [])):
            given = ["--data", folder, "--epochs", 3, "--state", tmp_path / name]
            for stop in stops:
                script("stop_and_resume", *given, "--stop-after", stop)
                assert (tmp_path / name).exists()
            script("stop_and_resume", *given)
            assert not (tmp_path / name).exists()
            lines = capsys.readouterr().out.splitlines()
            epochs = [one for one in lines if one.startswith("epoch")]
            losses.append([re.match(r"epoch +\d/3  loss [\d.]+", one)[0] for one in epochs])
        assert len(losses[0]) == 3
        assert losses[0] == losses[1]
