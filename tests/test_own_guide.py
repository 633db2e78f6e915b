"""Guides that are not the model's: functions, modules, AutoGuides, through fit and everything after it."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoGuideList, AutoNormal
from pyro.nn import PyroModule, PyroParam

import bayes_recsys as br
from bayes_recsys.scores.rows import ScoreRows
from tests.conftest import batches, make

TRAINING = br.Training(max_epochs=3, learning_rate=3e-2, pairs=300, monitor=br.Monitor(every=3))


def draw_scores(model, batch, family, shift=0.0):
    """The site of BAMF's user scores, its means moved."""
    site = model.attend(batch)["user_attention"]
    law = ScoreRows(family.distribution(site.energy + shift), site.present)
    with (
        poutine.scale(scale=batch.scale),
        pyro.plate("block", len(batch.user), dim=-2),
        poutine.scale(scale=batch.share[:, None]),
        pyro.plate("user_attention_candidate", 1, dim=-1),
    ):
        return pyro.sample("user_attention", law)


class Shifted(PyroModule):
    """The amortised guide with a width and a level of its own for all scores."""

    def __init__(self, model):
        super().__init__()
        self.of = [model]  # not a part of this one
        self.shift = torch.nn.Parameter(torch.zeros(()))
        self.width = PyroParam(torch.tensor(0.5), dist.constraints.positive)

    def forward(self, batch):
        return draw_scores(self.of[0], batch, br.LogNormal().with_scale(self.width), self.shift)


class Levelled(br.models.BAMF):
    """With one number for all logits, drawn from a prior: a global site."""

    def model(self, batch):
        self.level = pyro.sample("level", dist.Normal(0.0, 1.0))
        return super().model(batch)

    def logits(self, batch, contexts):
        return super().logits(batch, contexts) + self.level


def test_a_function_that_is_the_amortised_guide_is_it(split, histories):
    """The same draws, the same loss in each epoch."""
    results = []
    for own in (False, True):
        torch.manual_seed(0)
        model = br.models.BAMF(histories, user_scores=br.Scores(br.LogNormal(0.3)))
        guide = (lambda batch, m=model: draw_scores(m, batch, br.LogNormal(0.3))) if own else None
        results.append(br.fit(model, split, training=TRAINING, guide=guide, progress=False))
    losses = [fit.history["loss"].tolist() for fit in results]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_module_is_trained_and_drawn_from(split, histories):
    torch.manual_seed(0)
    model = br.models.BAMF(histories)
    guide = Shifted(model)
    fit = br.fit(model, split, training=TRAINING, guide=guide, progress=False)
    assert guide.shift.abs() > 1e-3
    assert abs(guide.width.item() - 0.5) > 1e-3
    drawn = br.draw(model, torch.tensor([3]), torch.tensor([[1, 2]]), draws=2000)
    scores = drawn.scores["user_attention"][:, 0].log()
    there = scores[0].isfinite()
    assert scores[:, there].std(0).mean() == pytest.approx(guide.width.item(), rel=0.05)
    with torch.no_grad():
        batch = br.data.candidates(histories, torch.tensor([3]), torch.tensor([[1, 2]]))
        mean = model.attend(batch)["user_attention"].energy[0, 0] + guide.shift
    level = scores[:, there].mean(0) + 0.5 * guide.width.item() ** 2
    torch.testing.assert_close(level, mean[there], atol=0.05, rtol=0)
    user, item = torch.tensor([3]), torch.tensor([[1, 2]])
    expected = drawn.logits.mean(0)
    torch.testing.assert_close(model.score(user, item), expected, atol=0.1, rtol=0)
    assert torch.equal(model.score(user, item), model.score(user, item))
    assert br.evaluate(model, split).per_user.notna().all(axis=None)
    assert len(br.recommend(fit.model, ["3"], k=3)) == 3
    assert br.to_arviz(model, ["3"], draws=10).posterior.sizes["draw"] == 10
    assert 0 < br.predictive_nll(br.Posterior(model, draws=3), split).mean() < 2
    dropping = make(br.models.BAMF, histories, dropout=0.5)
    dropping.own_guide = Shifted(dropping)
    assert (br.MCDropout(dropping, draws=5).draw_logits(user, item).std(0) > 0).all()
    with pytest.raises(br.models.ModelFolderError, match="a guide of your own is code"):
        br.save_model(model, "model")
    with pytest.raises(ValueError, match="amortised guide alone"):
        br.score_summary(model)


@pytest.mark.parametrize("kind", [AutoNormal, AutoDelta])
def test_an_autoguide_of_global_sites_goes_over_mini_batches(kind, split, histories):
    torch.manual_seed(0)
    model = Levelled(histories)
    shown = poutine.block(model.model, expose=["level"])
    guide = AutoGuideList(shown)
    guide.append(kind(shown))
    guide.append(model.amortised_guide)
    fit = br.fit(model, split, training=TRAINING, guide=guide, progress=False)
    assert fit.history["loss"].iloc[-1] < fit.history["loss"].iloc[0]
    with pyro.get_param_store().scope():
        assert guide.median()["level"] < -0.2  # of four negatives a positive
    assert br.evaluate(model, split).per_user.notna().all(axis=None)


RANDOM = [
    (br.models.BAMF, {}),
    (br.models.NAIS, {"scores": br.Scores(scope="interaction")}),
    (br.models.Association, {"scores": br.Scores()}),
    (br.models.DRNet, {"scores": br.Scores()}),
    (br.models.DELF, {"scores": br.Scores()}),
]


@pytest.mark.parametrize(("kind", "options"), RANDOM, ids=lambda one: getattr(one, "__name__", ""))
def test_an_autoguide_of_scores_is_refused(kind, options, split, histories):
    model = make(kind, histories, **options)
    with pytest.raises(ValueError, match="remembers the sizes"):
        br.fit(model, split, training=TRAINING, guide=AutoNormal(model.model), progress=False)


def test_what_cannot_be_trained_is_refused(split, histories):
    model = br.models.BAMF(histories)

    def stray(batch):
        width = pyro.param("width", torch.tensor(0.5))
        return draw_scores(model, batch, br.LogNormal().with_scale(width))

    with pytest.raises(ValueError, match=r"calls pyro\.param\('width'\)"):
        br.fit(model, split, training=TRAINING, guide=stray, progress=False)
    with pytest.raises(ValueError, match="would call itself"):
        br.fit(model, split, training=TRAINING, guide=model.guide, progress=False)

    def unscaled(batch):
        site = model.attend(batch)["user_attention"]
        law = ScoreRows(br.LogNormal(0.3).distribution(site.energy), site.present)
        with pyro.plate("block", len(batch.user), dim=-2), pyro.plate("c", 1, dim=-1):
            return pyro.sample("user_attention", law)

    with pytest.raises(ValueError, match="is not scaled as the model's"):
        br.fit(model, split, training=TRAINING, guide=unscaled, progress=False)
    with pytest.raises(TypeError, match="function of a batch"):
        br.fit(model, split, training=TRAINING, guide=Shifted, progress=False)
    with pytest.raises(TypeError, match="function of a batch"):
        br.fit(model, split, training=TRAINING, guide="AutoNormal", progress=False)
    with pytest.raises(ValueError, match="latent sites of model and guide differ"):
        br.fit(model, split, training=TRAINING, guide=lambda batch: None, progress=False)
    # Refused, they leave the model as it was.
    assert model.own_guide is None
    assert br.evaluate(model, split).per_user.notna().all(axis=None)


def test_a_guide_can_be_given_and_taken_back(split, histories):
    model = br.models.BAMF(histories)
    once = br.Training(max_epochs=1, pairs=600)
    guides = [Shifted(model), lambda batch: draw_scores(model, batch, br.LogNormal(0.3))]
    for guide in (*guides, guides[0]):
        br.fit(model, split, training=once, guide=guide, progress=False)
        assert model.own_guide is guide
    with pytest.raises(ValueError, match="would call itself"):
        br.fit(model, split, training=once, guide=model.guide, progress=False)
    assert model.own_guide is guides[0]
    for guide in (model.amortised_guide, None):
        br.fit(model, split, training=once, guide=guides[1], progress=False)
        br.fit(model, split, training=once, guide=guide, progress=False)
        assert model.own_guide is None


def test_a_site_of_which_there_is_one_is_weighed_as_all_else(histories, split):
    """The objective per pair is the objective over the number of pairs, global sites included."""
    model = Levelled(histories)
    shown = poutine.block(model.model, expose=["level"])
    guide = AutoGuideList(shown)
    guide.append(AutoNormal(shown, init_loc_fn=lambda site: torch.tensor(3.0)))
    guide.append(model.amortised_guide)
    br.fit(model, split, training=br.Training(max_epochs=1), guide=guide, progress=False)
    batch = next(iter(batches(split, histories).epoch(1)))
    losses = []
    for per in (1, 50):
        with pyro.get_param_store().scope():
            torch.manual_seed(0)
            losses.append(br.Objective().loss_and_grads(model, batch, per=per))
    assert losses[0] == pytest.approx(50 * losses[1], rel=1e-5)
