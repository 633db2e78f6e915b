"""Levels of users, against simulated truth and numerical integration."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

import bayes_recsys as br
from bayes_recsys.evaluation.lapsing import LapsingPairs
from bayes_recsys.evaluation.levels import UserLevels
from bayes_recsys.posterior.predictive import Predictive


class Known(Predictive):
    """Logits that are what they are, with noise that draws differ by."""

    def __init__(self, model, draws, noise, seed=0):
        self.model, self.draws = model, draws
        random = torch.Generator().manual_seed(seed)
        histories = model.histories
        self.table = 2 * torch.randn(histories.n_users, histories.n_items, generator=random) - 1
        self.noise = noise * torch.randn(draws, 1, histories.n_items, generator=random)

    def draw_logits(self, user, item):
        logits = self.table[user].gather(1, item)
        return logits + self.noise.expand(-1, len(user), -1).gather(
            2, item.expand(self.draws, -1, -1)
        )

    def score(self, user, item):
        return self.table[user].gather(1, item)


@pytest.fixture(scope="module")
def world():
    """400 users of histories of 8 to 32 items, and a model of them."""
    data = br.data.synthetic(n_users=400, n_items=60, length=(10, 40), seed=0).interactions
    split = br.data.split(data, seed=0)
    model = br.models.BAMF(br.data.histories(split), embedding_dim=2)
    return split, model


def levels_of(
    world, monkeypatch, *, draws=1, noise=0.0, pairs=30, lapse=0.0, by_length=0.0, slope=-0.4
):
    """Fitted to labels of known levels, which take the place of the split's."""
    split, model = world
    known = Known(model, draws, noise)
    rng = np.random.default_rng(1)
    length = np.log(split.items_by_user("train").lengths.numpy())
    truth = np.array([0.5, slope]) + np.array([0.8, 0.3]) * rng.standard_normal((400, 2))
    truth[:, 0] += by_length * (length - length.mean())
    lengths = np.stack([np.ones(400), length - length.mean()], axis=1)
    population = np.linalg.lstsq(lengths, truth)[0]
    sd = (truth - lengths @ population).std(0)
    user = torch.from_numpy(np.repeat(np.arange(400), pairs))
    item = torch.from_numpy(rng.integers(60, size=len(user)))
    logits = known.draw_logits(user, item[:, None])[..., 0].double()
    x = truth[user, 0] + np.exp(truth[user, 1]) * logits[0].numpy()  # the first draw is right
    chosen = rng.random(len(x)) < (1 - lapse) / (1 + np.exp(-x))
    sign = torch.from_numpy(np.where(chosen, 1.0, -1.0))
    made = LapsingPairs(logits, sign, user, 400)
    monkeypatch.setattr(LapsingPairs, "of", classmethod(lambda cls, *_: made))
    return UserLevels(known, split), truth, population, sd, made


@pytest.mark.parametrize(
    ("lapse", "by_length", "slope"), [(0.0, 0.0, -0.4), (0.2, 0.0, 0.6), (0.0, 0.8, -0.4)]
)
def test_the_population_and_its_users_are_found(world, monkeypatch, lapse, by_length, slope):
    levels, truth, population, sd, _ = levels_of(
        world, monkeypatch, lapse=lapse, by_length=by_length, slope=slope, pairs=60
    )
    np.testing.assert_allclose(levels.population.coefficients, population, atol=0.15)
    assert levels.population.lapse == pytest.approx(lapse, abs=0.03)
    np.testing.assert_allclose(levels.population.covariance.diagonal().sqrt(), sd, atol=0.12)
    table, inside = levels.table(), []
    for found, width, true in (
        (table["level"], table["level sd"], truth[:, 0]),
        (np.log(table["slope"]), table["log slope sd"], truth[:, 1]),
    ):
        inside.append(abs(found.to_numpy() - true) < 1.645 * width.to_numpy())
        assert np.corrcoef(found, true)[0, 1] > 0.5
    assert 0.86 < np.mean(inside) < 0.94


def test_a_users_posterior_is_that_of_a_grid(world, monkeypatch):
    """With draws that disagree, whose probabilities are averaged."""
    levels, *_, made = levels_of(world, monkeypatch, draws=3, noise=1.0, lapse=0.1)
    a, c = np.meshgrid(np.linspace(-4, 4, 401), np.linspace(-3, 2, 401), indexing="ij")
    inverse = np.linalg.inv(levels.population.covariance.numpy())
    for user in (0, 17):
        mine = made.user == user
        x, sign = made.logits[:, mine].numpy(), made.sign[mine].numpy()
        yes = 1 / (1 + np.exp(-(a[..., None, None] + np.exp(c)[..., None, None] * x)))
        probability = np.where(
            sign > 0, (1 - levels.population.lapse) * yes, 1 - (1 - levels.population.lapse) * yes
        )
        away = np.stack([a, c], -1) - levels.population.mean[user].numpy()
        density = np.log(probability.mean(-2)).sum(-1)
        density -= np.einsum("...i,ij,...j->...", away, inverse, away) / 2
        weight = np.exp(density - density.max())
        weight /= weight.sum()
        row = levels.table().iloc[user]
        for mean, width, grid in (
            (row["level"], row["level sd"], a),
            (np.log(row["slope"]), row["log slope sd"], c),
        ):
            expected = (weight * grid).sum()
            assert mean == pytest.approx(expected, abs=0.003)
            sd = np.sqrt((weight * (grid - expected) ** 2).sum())
            assert width == pytest.approx(sd, abs=0.003)


def test_who_has_no_pairs_has_the_populations(world, monkeypatch):
    split, model = world
    known = Known(model, 4, 0.0)
    held_out = LapsingPairs.of(known, split, "validation", 4, 0)
    without = held_out.user != 7
    fewer = LapsingPairs(
        held_out.logits[:, without], held_out.sign[without], held_out.user[without], 400
    )
    monkeypatch.setattr(LapsingPairs, "of", classmethod(lambda cls, *_: fewer))
    levels = UserLevels(known, split)
    row = levels.table().iloc[7]
    assert row["pairs"] == 0
    assert row["level"] == pytest.approx(levels.population.mean[7, 0].item(), abs=1e-6)
    assert row["level sd"] == pytest.approx(
        levels.population.covariance[0, 0].sqrt().item(), abs=1e-6
    )


@pytest.fixture(scope="module")
def fitted():
    split = br.data.split(br.data.synthetic(n_users=80, n_items=60, seed=0).interactions)
    torch.manual_seed(0)
    model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
    training = br.Training(max_epochs=60, patience=60, learning_rate=1e-2, weight_decay=0.0)
    br.fit(model, split, training=training, progress=False)  # for too long: too sure
    return split, model


def test_they_mend_probabilities_and_leave_lists(fitted):
    split, model = fitted
    posterior = br.Posterior(model, draws=10)
    levels = UserLevels(posterior, split)
    before, after = (br.predictive_nll(one, split).mean() for one in (posterior, levels))
    assert after < before
    lists = [br.recommend(one, users=["3", "5"], k=10)["item"].tolist() for one in (model, levels)]
    assert lists[0] == lists[1]
    again = UserLevels(posterior, split)
    assert (levels.table() == again.table()).all(axis=None)
    user, item = torch.tensor([2, 5]), torch.tensor([[1, 2], [1, 2]])
    drawn = levels.draw_logits(user, item)
    assert torch.equal(drawn, again.draw_logits(user, item))
    assert torch.equal(drawn[:, 1:], levels.draw_logits(user[1:], item[1:]))


def test_how_far_it_leaps_makes_no_difference(fitted, monkeypatch):
    """Not even where logits say next to nothing, as of a model that was not trained."""
    split, _ = fitted
    torch.manual_seed(1)
    model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
    found = []
    for stride in (4.0, 128.0):
        monkeypatch.setattr("bayes_recsys.evaluation.population.LONGEST", stride)
        found.append(UserLevels(br.Posterior(model, draws=2), split))
    one, other = (br.evaluation.predicted_pairs(levels, split) for levels in found)
    np.testing.assert_allclose(one["probability"], other["probability"], atol=0.05)
    monkeypatch.setattr("bayes_recsys.evaluation.population.CYCLES", 1)
    with pytest.warns(ConvergenceWarning, match="still moves after 1 cycles"):
        UserLevels(model, split)


def test_refuses(fitted, monkeypatch):
    split, model = fitted
    monkeypatch.setattr("bayes_recsys.evaluation.lapsing.TENSORS", 10**12)
    with pytest.raises(MemoryError, match="draws of 810 pairs"):
        UserLevels(model, split)
    with pytest.raises(ValueError, match="judged by"):
        UserLevels(model, split, part="test")
    with pytest.raises(ValueError, match=r"not 'valid'"):
        UserLevels(model, split, part="valid")
    with pytest.raises(TypeError, match="split"):
        UserLevels(model, "split")
    with pytest.raises(ValueError, match="negatives must be"):
        UserLevels(model, split, negatives=0)
    with pytest.raises(TypeError, match="not EASE"):
        UserLevels(br.baselines.EASE(split), split)


class Moved(Predictive):
    """Logits that order items as another's, and need be no log-odds."""

    def __init__(self, model, likelihood, slope, level):
        self.model, self.slope, self.level = model, slope, level
        self._likelihood = likelihood

    @property
    def likelihood(self):
        return self._likelihood

    def draw_logits(self, user, item):
        return self.slope * self.model.score(user, item)[None] + self.level


@pytest.mark.parametrize("likelihood", [br.Softmax(), br.BradleyTerry(4), br.Bernoulli(None)])
def test_what_only_ranks_has_probabilities_with_levels(likelihood, fitted):
    """As good as those of log-odds that order items as it does."""
    split, model = fitted
    levels = [
        UserLevels(Moved(model, *arguments), split)
        for arguments in (
            (likelihood, 2.0, 3.0),
            (br.Bernoulli(4), 1.0, 0.0),
            (likelihood, 0.001, 0.0),
        )
    ]
    assert levels[0].likelihood == levels[1].likelihood
    found = [br.predictive_nll(one, split).mean() for one in levels]
    assert found == pytest.approx([found[1]] * 3, abs=0.01)
    pairs = [br.evaluation.predicted_pairs(one, split, seed=1) for one in levels]
    assert (pairs[0]["item"] == pairs[1]["item"]).all()
    assert pairs[0]["probability"].corr(pairs[1]["probability"], method="spearman") > 0.9


@pytest.mark.parametrize("wrong", [float("nan"), -float("inf")])
def test_names_the_user_of_a_logit_that_is_none(wrong, fitted):
    split, model = fitted
    with pytest.raises(ValueError, match=r"logit of user '[0-9]+' is NaN or infinite"):
        UserLevels(Moved(model, br.Bernoulli(4), 1.0, wrong), split)


def test_stands_one_logit_that_is_far_off(world, monkeypatch):
    """As of a model that is wrong once: its user is as others, not at the end of the world."""
    levels, *_, made = levels_of(world, monkeypatch)
    made.logits[0, made.user == 3] = -1e9
    monkeypatch.setattr(LapsingPairs, "of", classmethod(lambda cls, *_: made))
    again = UserLevels(levels.predictive, world[0])
    assert abs(again.table().iloc[3]["level"]) < 20
    others = [n for n in range(400) if n != 3]
    np.testing.assert_allclose(
        levels.table().iloc[others]["level"], again.table().iloc[others]["level"], atol=0.2
    )
