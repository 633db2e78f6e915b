"""What is observed decides what is predicted; classes of the test are as good as ours."""

from dataclasses import dataclass, replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.nn.functional import logsigmoid

import bayes_recsys as br
from bayes_recsys.evaluation import list_uncertainty, predicted_pairs
from bayes_recsys.nn import Attention, HistoryEntries, embedding
from bayes_recsys.testing import FamilyTests, LikelihoodTests, ModelTests
from tests.conftest import make
from tests.test_probability import codes


def same_scores(one, other):
    user, item = torch.arange(5), torch.arange(12).expand(5, -1)
    return torch.equal(one.score(user, item), other.score(user, item))


class TestBradleyTerry:
    @pytest.fixture
    def model(self, histories):
        model = make(br.models.BAMF, histories, user_scores=br.Scores(br.LogNormal(0.7)))
        model.likelihood = br.BradleyTerry(negatives=3)
        return model

    def test_has_no_probability(self, model, split):
        with pytest.raises(br.NoProbability, match="BradleyTerry, whose logits rank items"):
            predicted_pairs(model, split)
        with pytest.raises(br.NoProbability):
            br.BradleyTerry().probability(torch.zeros(2))
        assert issubclass(br.NoProbability, TypeError)
        assert list(list_uncertainty(model, split)) == ["spread", "disagreement"]

    @pytest.mark.parametrize("negatives", [None, 5])
    def test_nll_is_that_of_preferences(self, negatives, model, split, histories):
        """By hand, of the pairs that a pointwise model is asked about, with as many negatives."""
        nll = br.predictive_nll(br.Posterior(model, draws=9), split, negatives=negatives, seed=4)
        n = negatives or 3
        pointwise = make(br.models.BAMF, histories)
        pairs = predicted_pairs(pointwise, split, negatives=n, seed=4)
        for user in nll.index[[0, 3, -1]]:
            of_user = pairs["item"][pairs["user"] == user]
            item, place = codes(histories, of_user).unique(return_inverse=True)
            code = histories.user_codes([user])
            logits = br.draw(model, code, item[None], draws=9).logits[:, 0].double()
            x = logits[:, place].unflatten(1, (-1, 1 + n))
            preferred = (x[..., :1] - x[..., 1:]).sigmoid().mean(0).log()
            assert nll[user] == pytest.approx(-preferred.mean().item(), rel=1e-6)

    def test_is_saved_with_the_model(self, model, split, tmp_path):
        br.save_model(model, tmp_path / "model")
        loaded = br.load_model(tmp_path / "model")
        assert loaded.likelihood == br.BradleyTerry(negatives=3)
        with pytest.raises(br.NoProbability):
            predicted_pairs(loaded, split)

    def test_of_candidates_without_negatives_is_refused(self, model, histories):
        batch = br.data.candidates(histories, torch.tensor([1]), torch.tensor([[2, 3]]))
        with pytest.raises(ValueError, match="each positive with negatives"):
            model.model(batch)

    def test_an_ensemble_ranks_by_mean_logits(self, histories):
        models = [make(br.models.GMF, histories, size=s) for s in (0.3, 0.6)]
        for model in models:
            model.likelihood = br.BradleyTerry()
        user, item = torch.tensor([3]), torch.tensor([[1, 2, 3]])
        each = torch.stack([m.score(user, item) for m in models]).double()
        torch.testing.assert_close(br.DeepEnsemble(models).score(user, item), each.mean(0))
        models[0].likelihood = br.Bernoulli()
        with pytest.raises(ValueError, match="the same likelihood"):
            br.DeepEnsemble(models)


def test_negatives_are_as_many_as_in_training(split, histories):
    model = make(br.models.GMF, histories)
    model.likelihood = br.Bernoulli(negatives=7)
    assert predicted_pairs(model, split)["label"].mean() == pytest.approx(1 / 8)


@dataclass(frozen=True)
class Mine(br.LogNormal):
    """A family of the test, the same as ours."""

    note: str = "of mine"


@dataclass(frozen=True)
class Slips(br.Likelihood):
    """``p = ε + (1 - 2ε) σ(x)``: now and then a choice is a slip."""

    negatives: int = 2
    slips: float = 0.1

    def observe(self, logits, batch):
        with pyro.plate("candidate", logits.shape[-1], dim=-1):
            chosen = dist.Bernoulli(self.probability(logits))
            pyro.sample("chosen", chosen.mask(batch.mask), obs=batch.label)

    def log_likelihood(self, logits):
        p = self.probability(logits)
        return torch.cat([p[..., :1], 1 - p[..., 1:]], dim=-1).log()

    def probability(self, logits):
        return self.slips + (1 - 2 * self.slips) * logits.sigmoid()


class TestMine(FamilyTests):
    family = Mine


class TestSlips(LikelihoodTests):
    likelihood = Slips()


def test_a_family_of_ones_own_trains_and_comes_back(histories, split, tmp_path):
    torch.manual_seed(0)
    scores = br.Scores(Mine("learned"), prior=Mine(2.0, note="wide"))
    model = br.models.BAMF(histories, embedding_dim=8, user_scores=scores)
    training = br.Training(max_epochs=2, learning_rate=1e-2)
    br.fit(model, split, training=training, progress=False)
    torch.manual_seed(0)
    ours = br.Scores(br.LogNormal("learned"), prior=br.LogNormal(2.0))
    known = br.models.BAMF(histories, embedding_dim=8, user_scores=ours)
    br.fit(known, split, training=training, progress=False)
    assert same_scores(model, known)
    br.save_model(model, tmp_path / "model")
    loaded = br.load_model(tmp_path / "model")
    assert loaded.options.values["user_scores"] == scores
    assert loaded.options.values["user_scores"].prior.note == "wide"
    assert same_scores(loaded, model)


def test_a_likelihood_of_ones_own_trains_decides_and_comes_back(histories, split, tmp_path):
    torch.manual_seed(0)
    model = br.models.GMF(histories, embedding_dim=8)
    training = br.Training(max_epochs=20, learning_rate=3e-2, patience=20)
    result = br.fit(model, split, br.Objective(Slips(slips=0.2)), training, progress=False)
    assert result.history["loss"].iloc[-1] < 0.95 * result.history["loss"].iloc[0]
    br.save_model(model, tmp_path / "model")
    loaded = br.load_model(tmp_path / "model")
    assert loaded.likelihood == Slips(slips=0.2)
    assert same_scores(loaded, model)
    pairs = predicted_pairs(loaded, split)
    assert pairs["label"].mean() == pytest.approx(1 / 3)
    assert pairs["probability"].between(0.2, 0.8).all()
    nll = -pairs.groupby("user", sort=False)["log_likelihood"].mean()
    np.testing.assert_allclose(br.predictive_nll(loaded, split), nll, rtol=1e-6)


class OfFeatures(br.models.Model):
    """Attends over a history of which it knows but the features."""

    def __init__(self, histories, *, embedding_dim=8, scores=br.Scores()):
        super().__init__(histories)
        self.register_buffer("features", histories.item_features, persistent=False)
        self.project = torch.nn.Linear(self.features.shape[1], embedding_dim)
        self.user = embedding(histories.n_users, embedding_dim)
        self.attention = Attention(embedding_dim, scores=scores)

    def attend(self, batch):
        entries = self.project(self.features[batch.history])
        query = self.user(batch.user)[:, None]
        return {"attention": self.attention(query, HistoryEntries(batch, entries, entries))}

    def logits(self, batch, contexts):
        return (self.project(self.features[batch.item]) * contexts["attention"]).sum(-1)


class TestOfFeatures(ModelTests):
    model = OfFeatures

    @pytest.fixture
    def histories(self, split):
        features = np.random.default_rng(0).normal(size=(80, 3))
        return br.data.histories(split, item_features=features)


def test_a_model_of_features_trains_and_comes_back(synthetic, split, tmp_path):
    """The items' true vectors for features: it ranks better than popularity."""
    known = br.data.histories(split, item_features=synthetic.item)
    torch.manual_seed(0)
    model = OfFeatures(known)
    training = br.Training(max_epochs=30, learning_rate=1e-2, patience=30)
    result = br.fit(model, split, training=training, progress=False)
    assert result.history["loss"].iloc[-1] < 0.95 * result.history["loss"].iloc[0]
    popularity = br.evaluate(br.baselines.Popularity(split), split).per_user["ndcg@10"].mean()
    assert br.evaluate(model, split).per_user["ndcg@10"].mean() > 1.5 * popularity
    br.save_model(model, tmp_path / "model")
    loaded = br.load_model(tmp_path / "model")
    assert torch.equal(loaded.histories.item_features, known.item_features)
    assert same_scores(loaded, model)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("item_features", np.zeros((79, 3))),
        ("item_features", np.zeros(80)),
        ("user_features", np.zeros((80, 3))),
        ("user_features", np.full((60, 1), np.nan)),
        ("user_features", torch.full((60, 1), torch.inf)),
    ],
)
def test_features_that_do_not_fit_are_refused(name, features, split, histories):
    message = rf"{name} must be a finite matrix of {60 if name[0] == 'u' else 80} rows"
    with pytest.raises(ValueError, match=message):
        br.data.histories(split, **{name: features})
    with pytest.raises(ValueError, match=message):
        replace(histories, **{name: features})


def test_bernoulli_is_the_cross_entropy():
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(br.Bernoulli().log_likelihood(x)[..., :1], logsigmoid(x[..., :1]))
    torch.testing.assert_close(br.Bernoulli().log_likelihood(x)[..., 1:], logsigmoid(-x[..., 1:]))
    assert torch.equal(br.Bernoulli().probability(x), x.sigmoid())


def test_a_site_cannot_bear_the_name_of_something_else(histories, split):
    class Renamed(br.models.NAIS):
        def attend(self, batch):
            return {"logit": super().attend(batch)["attention"]}

        def logits(self, batch, contexts):
            return super().logits(batch, {"attention": contexts["logit"]})

    with pytest.raises(ValueError, match="an attention site cannot be called 'logit'"):
        br.fit(Renamed(histories), split, progress=False)


@pytest.mark.parametrize("how", [lambda x: x[:1], lambda x: x[..., None], lambda x: x.sum(), list])
def test_logits_of_a_wrong_shape_are_refused(how, histories, split):
    """Though they would broadcast."""

    class Odd(br.models.GMF):
        def logits(self, batch, contexts):
            return how(super().logits(batch, contexts))

    with pytest.raises(ValueError, match=r"Odd\.logits\(batch, contexts\) must return a tensor"):
        br.fit(Odd(histories), split, training=br.Training(max_epochs=1), progress=False)
