"""Kernels with a gradient of their own, against formulas and finite differences."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import kl_divergence

import bayes_recsys as br
from bayes_recsys.nn import energy
from bayes_recsys.nn.pooling import pool_rows, reference
from bayes_recsys.scores.distribution import RandomFamily, exp_of, log_of
from bayes_recsys.scores.present import Present
from bayes_recsys.scores.rows import ScoreRows
from bayes_recsys.scores.sums import powers, squares, total
from bayes_recsys.testing.padded import Padded
from bayes_recsys.testing.padded import batches as padded_batches
from tests.cases import PUBLISHED_BAMF
from tests.conftest import batches, make

FAMILIES = [br.LogNormal, br.Gamma, br.Weibull]


def present_of(blocks=3, rows=4, length=5, seed=0):
    """Padding, rows with and without an entry of their own, an empty one, a single entry that is the own."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.rand(blocks, length, generator=generator) < 0.7
    there[0], there[1] = True, False
    there[1, 2] = True
    own = torch.randint(0, 2 * length, (blocks, rows), generator=generator).clamp(max=length)
    own[1, 0] = 2
    own = own.where(there.gather(1, own.clamp(max=length - 1)), length)
    return Present.without(there, own), there, own


def naive(there, own):
    mask = there[:, None].repeat(1, own.shape[1], 1)
    for g, c in torch.cartesian_prod(*map(torch.arange, own.shape)).tolist():
        if own[g, c] < there.shape[1]:
            mask[g, c, own[g, c]] = False
    return mask


@pytest.mark.parametrize("seed", range(5))
def test_present_is_its_table(seed):
    present, there, own = present_of(seed=seed)
    mask = naive(there, own)
    assert torch.equal(present.mask, mask)
    assert torch.equal(present.count, mask.sum(-1).float())
    for leading in ((), (2,)):
        values = torch.randn(*leading, *mask.shape)
        expected = values.where(mask, 0.0)
        assert present.clear_(values) is values
        assert torch.equal(values, expected)
    rows = torch.rand(own.shape) < 0.5
    assert torch.equal(Present.without(there, own, rows).mask, mask & rows[..., None])


def test_what_is_padding_is_no_entry_to_leave_out():
    present = Present.without(torch.tensor([[True, False]]), torch.tensor([[1, 0, 2]]))
    assert present.count.tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("leading", [(), (2,)])
def test_pooling_is_the_reference_with_its_gradient(beta, leading):
    present, *_ = present_of()
    torch.manual_seed(0)
    score = torch.randn(*leading, *present.shape, dtype=torch.float64, requires_grad=True)
    value = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    found, expected = (f(score, value, present, beta) for f in (pool_rows, reference))
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    for a, b in zip(
        *(torch.autograd.grad((y * weight).sum(), (score, value)) for y in (found, expected)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    assert gradcheck(lambda s, v: pool_rows(s, v, present, beta), (score, value))


@pytest.mark.parametrize("level", [-300.0, -80.0, -61.0, 59.0, 80.0, 300.0])
def test_pooling_is_finite_at_extremes(level):
    """In single precision, against double; what is not there may be anything."""
    present, *_ = present_of()
    torch.manual_seed(0)
    score = (torch.randn(present.shape) + level).where(present.mask, torch.tensor(85.0))
    value = torch.randn(3, 5, 2)
    found = []
    for dtype in (torch.float32, torch.float64):
        inputs = [x.to(dtype).requires_grad_() for x in (score, value)]
        pooled = (pool_rows if dtype == torch.float32 else reference)(*inputs, present, 1.0)
        found.append([pooled, *torch.autograd.grad(pooled.sum(), inputs)])
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("subtracted", [False, True])
def test_sums_are_sums_with_their_gradient(subtracted):
    present, *_ = present_of()
    torch.manual_seed(0)
    x = torch.randn(2, *present.shape, dtype=torch.float64, requires_grad=True)
    minus = (
        torch.randn(present.shape, dtype=torch.float64, requires_grad=True) if subtracted else None
    )
    power = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    d = x - minus if subtracted else x
    expected = d.where(present.mask, 0.0)
    torch.testing.assert_close(total(x, present), x.where(present.mask, 0.0).sum(-1))
    for found, wanted in zip(
        squares(x, minus, present), (expected.sum(-1), expected.square().sum(-1)), strict=True
    ):
        torch.testing.assert_close(found, wanted)
    _, found = powers(x, minus, present, power)
    torch.testing.assert_close(found, (power * d).exp().where(present.mask, 0.0).sum(-1))
    assert gradcheck(lambda x: total(x, present), (x,))
    assert gradcheck(lambda x: squares(x, None, present), (x,))
    assert gradcheck(lambda x, k: powers(x, None, present, k), (x, power))
    if subtracted:
        same = minus.detach().expand(2, *present.shape).clone().requires_grad_()
        assert gradcheck(lambda x, m: squares(x, m, present), (x, same))
        assert gradcheck(lambda x, m, k: powers(x, m, present, k), (x, same, power))


@pytest.mark.parametrize("name", ["dot", "prod", "concat"])
def test_energies_are_their_formula_with_its_gradient(name):
    torch.manual_seed(0)
    module = energy(name, 3, hidden=4).double()
    query = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    key = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    pairs = (query[:, :, None].expand(2, 5, 6, 3), key[:, None].expand(2, 5, 6, 3))
    found, expected = module(query, key), module.paired(*pairs)
    torch.testing.assert_close(found, expected)
    inputs, weight = (query, key, *module.parameters()), torch.randn_like(found)
    for a, b in zip(
        *(torch.autograd.grad((y * weight).sum(), inputs) for y in (found, expected)), strict=True
    ):
        torch.testing.assert_close(a, b)
    assert gradcheck(module, (query, key))
    torch.testing.assert_close(module(query[0], key[0]), found[0])
    torch.testing.assert_close(module(query[None], key[None]), found[None])


class TestRows:
    def rows(self, family, scale, seed=0):
        torch.manual_seed(seed)
        present, *_ = present_of()
        shape = {"one": (), "each": present.shape}[scale]
        width = (0.3 + torch.rand(shape, dtype=torch.float64)).requires_grad_()
        mean = torch.randn(present.shape, dtype=torch.float64, requires_grad=True)
        rows = ScoreRows(family().with_scale(width).distribution(mean), present)
        return rows, (mean, width)

    @pytest.mark.parametrize("scale", ["one", "each"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_log_probability_is_the_sum_over_what_is_there(self, family, scale):
        rows, inputs = self.rows(family, scale)
        value = rows.score.sample().detach() * 1.1
        found = rows.log_prob(value)
        expected = rows.score.log_prob(value).where(rows.present.mask, 0.0).sum(-1)
        torch.testing.assert_close(found, expected)
        plain = RandomFamily.log_density_of_rows
        noise = rows.score.noise_of(value)
        torch.testing.assert_close(
            rows.score.family.log_density_of_rows(noise, rows.present),
            plain(rows.score.family, noise, rows.present),
        )
        for a, b in zip(
            *(torch.autograd.grad(y.sum(), inputs, retain_graph=True) for y in (found, expected)),
            strict=True,
        ):
            torch.testing.assert_close(a, b)

    @pytest.mark.parametrize("scale", ["one", "each"])
    @pytest.mark.parametrize("prior", FAMILIES)
    @pytest.mark.parametrize("guide", FAMILIES)
    def test_gradients_of_what_was_drawn_are_those_of_the_formula(self, guide, prior, scale):
        """What a drawn score remembers of its logarithm and noise changes no value and no gradient."""
        found = []
        for remembered in (True, False):
            q, of_guide = self.rows(guide, scale)
            p, of_prior = self.rows(prior, scale, seed=1)
            torch.manual_seed(2)
            score = q.rsample()
            value = score if remembered else score * 1.0
            elbo = (p.log_prob(value) - q.log_prob(value)).sum() + log_of(value).square().sum()
            found.append((elbo, *torch.autograd.grad(elbo, (*of_guide, *of_prior))))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("padding", [0.0, float("nan"), float("inf")])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_what_is_not_there_may_be_anything(self, family, padding):
        """Draws come with NaN where there is no entry, and may be conditioned on."""
        rows, inputs = self.rows(family, "one")
        value = rows.sample() * 1.0
        found = [
            (y, *torch.autograd.grad(y.sum(), inputs, retain_graph=True))
            for y in map(rows.log_prob, (value, value.where(rows.present.mask, padding)))
        ]
        for a, b in zip(*found, strict=True):
            assert a.isfinite().all()
            assert torch.equal(a, b)

    def test_a_score_that_was_changed_is_not_what_was_drawn(self):
        rows, _ = self.rows(br.LogNormal, "one")
        with torch.no_grad():
            value = rows.rsample()
            value.mul_(2.0)
            torch.testing.assert_close(log_of(value), value.log())
            expected = rows.score.log_prob(value).where(rows.present.mask, 0.0).sum(-1)
            torch.testing.assert_close(rows.log_prob(value), expected)

    def test_a_logarithm_that_was_changed_is_not_that_of_the_score(self):
        rows, _ = self.rows(br.LogNormal, "one")
        with torch.no_grad():
            value = rows.rsample()
            logarithm = log_of(value)
            assert torch.equal(exp_of(logarithm), value)
            before = rows.log_prob(value * 1.0)
            logarithm.add_(1.0)
            assert exp_of(logarithm) is None
            torch.testing.assert_close(log_of(value), value.log())
            torch.testing.assert_close(rows.log_prob(value), before)

    def test_in_inference_mode_nothing_is_remembered(self):
        rows, _ = self.rows(br.LogNormal, "one")
        with torch.inference_mode():
            value = rows.rsample()
            expected = rows.score.log_prob(value).where(rows.present.mask, 0.0).sum(-1)
            torch.testing.assert_close(rows.log_prob(value), expected)

    def test_asked_without_a_gradient_it_has_one_later(self):
        rows, (mean, _) = self.rows(br.LogNormal, "one")
        value = rows.rsample()
        with torch.no_grad():
            before = rows.log_prob(value)
        after = rows.log_prob(value)
        assert torch.equal(before, after.detach())
        assert torch.autograd.grad(after.sum(), mean)[0].any()

    @pytest.mark.parametrize("prior", FAMILIES)
    def test_divergence_is_the_sum(self, prior):
        q, _ = self.rows(br.LogNormal, "one")
        p, _ = self.rows(prior, "one", seed=1)
        expected = kl_divergence(q.score, p.score).where(q.present.mask, 0.0).sum(-1)
        torch.testing.assert_close(kl_divergence(q, p), expected)

    def test_expands(self):
        rows, _ = self.rows(br.LogNormal, "one")
        more = rows.expand((7, *rows.batch_shape))
        assert more.rsample().shape == (7, *rows.present.shape)
        assert more.log_prob(more.sample()).shape == (7, *rows.batch_shape)


def padded_loss(model, split, batch):
    """The pairs of a batch, one by one."""
    real = batch.mask
    user, history = (
        x[:, None].expand(*real.shape, *x.shape[1:])[real] for x in (batch.user, batch.history)
    )
    padded = Padded(model, split.items_by_user("train").lengths)
    return padded.loss(user, batch.item[real], batch.label[real], history, batch.valid[real])


@pytest.mark.parametrize(
    "options", [{}, {"energy": "prod"}, {"energy": "concat", "strength": "user"}]
)
def test_without_random_scores_the_objective_is_that_of_the_padded_layout(
    options, split, histories
):
    points = {"user_scores": br.Point(), "item_scores": br.Point()}
    model = make(br.models.BAMF, histories, **points, **options)
    for batch in batches(split, histories, negatives=4).epoch(1):
        loss = br.Objective().loss_and_grads(model, batch) / batch.scale
        gradients = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        expected = padded_loss(model, split, batch)
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
        (expected * batch.scale).backward()
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(gradient, p.grad, rtol=1e-3, atol=1e-3)
        model.zero_grad()


@pytest.mark.parametrize("family", FAMILIES)
def test_with_random_scores_it_is_in_the_mean(family, split, histories):
    scores = br.Scores(family(0.4), family(0.9), scope="interaction", prior_mean="contextual")
    options = {**PUBLISHED_BAMF, "user_scores": scores, "item_scores": scores}
    model = make(br.models.BAMF, histories, **options)
    batch = next(batches(split, histories, negatives=4).epoch(1))
    torch.manual_seed(0)
    with torch.no_grad():
        ones = torch.stack([padded_loss(model, split, batch) for _ in range(200)])
    objective = br.Objective()
    others = torch.tensor(
        [objective.loss_and_grads(model, batch) / batch.scale for _ in range(200)]
    )
    error = ((ones.var() + others.var()) / 200).sqrt()
    assert error < 0.02 * ones.mean().abs(), "else it would say nothing"
    assert (ones.mean() - others.mean()).abs() < 4 * error


def test_an_epoch_of_the_padded_layout_has_every_pair(split, histories):
    positives = split.items_by_user("train")
    epoch = list(padded_batches(split, histories, 3))
    user, item, label = (torch.cat([batch[i] for batch in epoch]) for i in range(3))
    assert len(user) == 5 * len(positives.values)
    assert sorted(zip(user[label == 1].tolist(), item[label == 1].tolist(), strict=True)) == list(
        zip(positives.rows.tolist(), positives.values.tolist(), strict=True)
    )
    assert not positives.contains(user[label == 0], item[label == 0]).any()
