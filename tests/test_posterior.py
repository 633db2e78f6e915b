"""Trees, ArviZ and pictures."""

import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
import xarray as xr

import bayes_recsys as br
from bayes_recsys.posterior import import_arviz, plot_attention, plot_loss, plots
from tests.cases import PUBLISHED_BAMF
from tests.conftest import make


@pytest.fixture
def model(histories):
    return make(br.models.BAMF, histories, **PUBLISHED_BAMF)


def test_scores_of_the_user_have_no_item(histories):
    model = make(br.models.BAMF, histories)
    tree = br.posterior_tree(model, users=["3", "7"], items=["5", "6"], draws=20)
    posterior = tree["3/posterior"]
    assert "item_attention" not in posterior, "it is no random variable"
    assert posterior["item_attention_weight"].std("draw").max() > 0, "its weights are"
    draws = br.draw(model, torch.tensor([3, 7]), torch.tensor([[5, 6], [5, 6]]), draws=20)
    for g, user in enumerate(("3", "7")):
        array = tree[user]["posterior"]["user_attention"]
        assert array.dims == ("chain", "draw", "user", "history")
        codes = histories.history.row(int(user)).tolist()
        found = array.sel(user=user, history=[str(code) for code in codes])[0].to_numpy()
        np.testing.assert_allclose(
            found, draws.scores["user_attention"][:, g, : len(codes)], rtol=1e-5
        )
        assert int(array.sel(user=user)[0, 0].notnull().sum()) == len(codes)
    plot_attention(tree, "3", site="user_attention")
    plot_attention(tree, "3")


def test_audiences_are_a_dimension_of_their_own(histories):
    scores = br.Scores(scope="interaction")
    model = make(br.models.BAMF, histories, history="both", item_scores=scores)
    busy = [i for i in range(histories.n_items) if len(histories.audience.row(i)) > 2][:3]
    items = [str(i) for i in busy]
    tree = br.posterior_tree(model, users=["3", "7"], items=items, draws=20)
    draws = br.draw(model, torch.tensor([3, 7]), torch.tensor([busy, busy]), draws=20)
    for group in ("posterior", "prior"):
        for user in ("3", "7"):
            assert tree[user][group]["user_attention"].dims == ("chain", "draw", "user", "history")
            array = tree[user][group]["item_attention"]
            assert array.dims == ("chain", "draw", "user", "item", "audience")
            for item in items:
                one = array.sel(user=user, item=item)[0, 0]
                there = set(one["audience"][one.notnull().to_numpy()].to_numpy())
                assert there == set(map(str, histories.audience.row(int(item)).tolist())) - {user}
    codes, values = draws.codes["item_attention"], draws.scores["item_attention"]
    for g, c, j in draws.valid["item_attention"].nonzero().tolist():
        place = {"user": ("3", "7")[g], "item": items[c], "audience": str(int(codes[g, c, j]))}
        found = tree[place["user"]]["posterior"]["item_attention"].sel(place)[0]
        np.testing.assert_array_equal(found, values[:, g, c, j])
    figure = plot_attention(tree, "3")
    assert "users (%)" in figure.axes[0].get_xlabel()
    certain = make(br.models.BAMF, histories, history="both")  # the item's weights are no variables
    figure = plot_attention(br.posterior_tree(certain, users=["3"], items=items, draws=20), "3")
    assert "items (%)" in figure.axes[0].get_xlabel()
    assert br.score_summary(model).index.tolist() == ["user_attention", "item_attention"]


def test_tree_holds_the_draws_under_their_ids(model, histories):
    tree = br.posterior_tree(model, users=["3", "7"], items=["5", "6"], draws=20)
    assert set(tree.children) == {"3", "7"}
    assert set(tree["3"].children) == {"posterior", "prior"}
    codes = torch.tensor([3, 7]), torch.tensor([[5, 6], [5, 6]])
    draws = br.draw(model, *codes, draws=20)
    for variable, values in (
        ("item_attention", draws.scores),
        ("item_attention_weight", draws.weights),
    ):
        for g, user in enumerate(("3", "7")):
            array = tree[user]["posterior"][variable]
            assert array.dims == ("chain", "draw", "user", "item", "history")
            for c, item in enumerate(("5", "6")):
                for j, code in enumerate(histories.history.row(int(user)).tolist()):
                    found = array.sel(user=user, item=item, history=str(code))[0].to_numpy()
                    np.testing.assert_allclose(
                        found, values["item_attention"][:, g, c, j], rtol=1e-5
                    )
    for g, user in enumerate(("3", "7")):
        logit = tree[user]["posterior"]["logit"]
        np.testing.assert_allclose(logit[0, :, 0], draws.logits[:, g], rtol=1e-5, atol=1e-6)


def test_nan_exactly_outside_the_history(model, histories):
    tree = br.posterior_tree(model, users=["3", "7"], items=["5", "6"], draws=3)
    for group in ("posterior", "prior"):
        for user in ("3", "7"):
            array = tree[user][group]["user_attention"]
            finite = np.isfinite(array).all(("chain", "draw"))
            for item in ("5", "6"):
                entries = set(map(str, histories.history.row(int(user)).tolist())) - {item}
                chosen = finite.sel(user=user, item=item)
                assert set(chosen["history"][chosen.to_numpy()].to_numpy()) == entries


def test_default_targets_are_the_recommendations(model):
    tree = br.posterior_tree(model, users=["3"], k=2, draws=30, seed=4)
    best = br.recommend(model, ["3"], k=2)["item"]
    assert tree["posterior"]["item"].to_numpy().tolist() == best.tolist()


def test_point_has_no_prior(histories):
    tree = br.posterior_tree(
        make(br.models.BAMF, histories, user_scores=br.Point(), item_scores=br.Point()),
        ["3"],
        draws=2,
    )
    assert set(tree.children) == {"posterior"}


def test_of_several_users_each_is_as_if_alone(model, tmp_path):
    """In the tree, for ArviZ, and in a file that is made user by user."""
    several = br.posterior_tree(model, users=["3", "7"], k=2, draws=5)
    by_user = br.to_arviz(model, users=["3", "7"], k=2, draws=5)
    br.save_posterior(model, ["3", "7"], tmp_path / "several.nc", k=2, draws=5)
    br.save_posterior(model, ["7"], tmp_path / "one.nc", k=2, draws=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.nc", "several.nc"]
    for user in ("3", "7"):
        alone = br.posterior_tree(model, users=[user], k=2, draws=5)["posterior"].to_dataset()
        assert not alone.isnull().any().to_array().any()
        xr.testing.assert_equal(several[user]["posterior"].to_dataset(), alone)
        xr.testing.assert_equal(by_user[user].posterior, alone)
        group = f"{user}/posterior"
        with xr.open_dataset(tmp_path / "several.nc", group=group, engine="h5netcdf") as saved:
            xr.testing.assert_equal(saved.load(), alone)
        plot_attention(several, user)
        plot_attention(by_user, user)
    with xr.open_datatree(tmp_path / "one.nc", engine="h5netcdf") as saved:
        assert saved.attrs["model"] == "BAMF"
        xr.testing.assert_equal(saved["posterior"].to_dataset().load(), alone)


def test_a_user_who_is_named_twice_is_one(model, tmp_path):
    br.save_posterior(model, ["7", "7"], tmp_path / "one.nc", k=2, draws=5)
    with xr.open_datatree(tmp_path / "one.nc", engine="h5netcdf") as saved:
        assert set(saved.children) == {"posterior", "prior"}


def test_an_interrupted_posterior_is_no_file(model, tmp_path, monkeypatch):
    from bayes_recsys.posterior import arviz

    draw, done = arviz.draw, []

    def interrupted(*arguments, **options):
        done.append(arguments)
        if len(done) == 4:
            raise KeyboardInterrupt
        return draw(*arguments, **options)

    monkeypatch.setattr(arviz, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        br.save_posterior(model, ["3", "7", "9"], tmp_path / "posterior.nc", k=2, draws=5)
    assert not list(tmp_path.iterdir())


def test_memory_of_a_posterior_is_what_was_asked_for(model, histories):
    """Users times their items, their histories and draws; not the union of any."""
    users = [str(u) for u in range(20) if len(histories.history.row(u))]
    tree = br.posterior_tree(model, users=users, k=3, draws=10)
    found = sum(tree[u]["posterior"]["user_attention_weight"].nbytes for u in users)
    lengths = sum(len(histories.history.row(int(u))) for u in users)
    assert found == lengths * 3 * 10 * 4


def test_arviz_summarises_and_reads_the_file(model, tmp_path):
    az = import_arviz()
    posterior = br.to_arviz(model, users=["3"], k=2, draws=100)
    summary = az.summary(posterior, var_names=["item_attention"])
    assert len(summary) == posterior.posterior["item_attention"][0, 0].size
    az.plot_forest(posterior, var_names=["item_attention"])
    tree = br.posterior_tree(model, users=["3"], k=2, draws=100)
    br.save_tree(tree, tmp_path / "posterior.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["posterior.nc"]
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as loaded:
        xr.testing.assert_equal(loaded["posterior"].to_dataset(), tree["posterior"].to_dataset())
        assert loaded.attrs["inference_library"] == "bayes_recsys"


def test_arviz_without_a_cache_folder(tmp_path):
    """ArviZ 0.23 fails to import where its cache folder cannot be made; through us it does not."""
    (tmp_path / "file").touch()
    code = "from bayes_recsys.posterior import import_arviz; import_arviz().summary"
    subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", code],
        env={"XDG_CACHE_HOME": str(tmp_path / "file" / "cache"), "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)},
        check=True,
    )  # fmt: skip


def test_importing_the_package_does_not_import_arviz():
    code = "import bayes_recsys, sys; sys.exit('arviz' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_score_summary_tells_a_prior_from_a_posterior(model, histories):
    """With equal means the log-normal excess is known: ½ ((σ_p² - σ_q²) / 2)² / σ_p²."""
    summary = br.score_summary(model)
    assert (summary["excess"] > 0.2).all()
    assert (summary["effective"] < 0.9).all()
    assert (summary["spread"] > 0.5).all()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    flat = br.score_summary(model)
    np.testing.assert_allclose(flat["excess"], 0.5 * (0.99 / 2) ** 2, rtol=1e-4)
    assert flat["effective"].min() > 0.99
    assert (flat["prior_effective"] < 0.75).all()
    assert flat["contraction"].isna().all(), "a given width says nothing of the data"
    assert flat["spread"].max() == pytest.approx(0.0, abs=1e-6)
    assert flat.index.tolist() == ["user_attention", "item_attention"]
    with pytest.raises(ValueError, match="deterministic"):
        br.score_summary(br.models.BAMF(histories, user_scores=br.Point(), item_scores=br.Point()))


def test_contraction_is_that_of_learned_widths(histories):
    scores = br.Scores(br.LogNormal("learned"), br.LogNormal(2.0), scope="user")
    model = br.models.BAMF(histories, user_scores=scores, item_scores=br.Point())
    summary = br.score_summary(model)
    assert summary.index.tolist() == ["user_attention"]
    assert summary["contraction"].item() == pytest.approx(0.0, abs=1e-5), "as wide as the prior"
    with torch.no_grad():
        model.user_attention.guide_scale.bias.zero_()  # half way between ln 0.05 and ln 5
    summary = br.score_summary(model)
    assert summary["contraction"].item() == pytest.approx(1 - 0.5**2 / 2.0**2, rel=1e-4)


def test_bad_arguments(model):
    with pytest.raises(ValueError, match="users must not be empty"):
        br.posterior_tree(model, [])
    with pytest.raises(ValueError, match="must be a list of ids"):
        br.posterior_tree(model, "12")
    with pytest.raises(KeyError, match="unknown item id"):
        br.posterior_tree(model, ["3"], ["no such"])


def test_attention_picture_shows_the_largest_shares(model, tmp_path):
    tree = br.posterior_tree(model, users=["3"], items=["5", "6"], draws=200)
    figure = plot_attention(tree, "3", top=4)
    panels = figure.axes
    assert len(panels) == 2
    best = "5"
    assert panels[0].get_title().startswith(best)
    weight = tree["posterior"]["item_attention_weight"].sel(user="3", item=best)
    weight = weight.dropna("history", how="all")
    share = (weight / weight.sum("history")).mean(("chain", "draw"))
    largest = share["history"].to_numpy()[np.argsort(-share.to_numpy())[:4]]
    assert [t.get_text() for t in panels[0].get_yticklabels()] == largest[::-1].tolist()
    figure.savefig(tmp_path / "a.png")
    with pytest.raises(ValueError, match="no attention site"):
        plot_attention(tree, "3", site="other")
    with pytest.raises(ValueError, match="user '9' is not"):
        plot_attention(tree, "9")


def test_loss_picture(histories, split, tmp_path):
    fitted = br.fit(
        br.models.BAMF(histories), split, training=br.Training(max_epochs=2), progress=False
    )
    plot_loss(fitted.history, fitted.best_epoch).savefig(tmp_path / "l.png")


def test_a_full_disk_is_met_before_writing(histories, tmp_path, monkeypatch):
    """And what stood there stays."""
    model = make(br.models.BAMF, histories)
    tree = br.posterior_tree(model, ["3"], draws=10)
    br.save_tree(tree, tmp_path / "a.nc")
    br.save_posterior(model, ["3", "4"], tmp_path / "b.nc", draws=10)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    room = namedtuple("Room", "total used free")(10**9, 10**9, 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    with pytest.raises(OSError, match=r"no room for .* MB"):
        br.save_tree(tree, tmp_path / "a.nc")
    with pytest.raises(OSError, match=r"no room for .* MB"):
        br.save_posterior(model, ["3", "4"], tmp_path / "b.nc", draws=10)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Heat (1995)", "Heat (1995)"),
        ("The Good, the Bad and the Ugly, in full (1966)", "The Good, the Bad and the Ugly, .."),
        ("a" * 40, "a" * 31 + " .."),
    ],
)
def test_long_names_are_cut(name, shown):
    assert plots._short(name) == shown
