"""What training makes small: losses, tempering, penalty, and any of Pyro's ELBOs."""

import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from torch.distributions import kl_divergence

import bayes_recsys as br
from bayes_recsys.inference import Tempered
from tests.cases import PUBLISHED_BAMF
from tests.conftest import batches, elbo, make

POINT = {"user_scores": br.Point(), "item_scores": br.Point()}


def traced(model, batch):
    """Traces of the guide and of the model that is given its draws, each with its terms."""
    guide = poutine.trace(model.guide).get_trace(batch)
    replayed = poutine.trace(poutine.replay(model.model, guide)).get_trace(batch)
    for trace in (guide, replayed):
        trace.compute_log_prob()
    return guide, replayed


def test_point_loss_is_the_scaled_cross_entropy(histories, batch):
    model = make(br.models.BAMF, histories, **POINT)
    logits = model.expected_logits(batch)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[batch.mask], batch.label[batch.mask], reduction="sum"
    )
    torch.testing.assert_close(elbo(model, batch), cross_entropy * batch.scale)
    assert batch.scale > 1


def bpr(model, batch):
    x = model.expected_logits(batch).unflatten(1, (-1, 3))
    real = batch.mask.unflatten(1, (-1, 3))[..., 0]
    return -((x[..., :1] - x[..., 1:]).sigmoid().log().sum(-1))[real].sum() * batch.scale


def test_point_pairwise_loss_is_the_scaled_bpr(histories, batch):
    model = make(br.models.BAMF, histories, **POINT)
    model.likelihood = br.BradleyTerry(negatives=2)
    torch.testing.assert_close(elbo(model, batch), bpr(model, batch))


def test_the_penalty_is_on_all_parameters_and_in_loss_and_gradients(histories, batch):
    model = make(br.models.BAMF, histories, **POINT)
    objective = br.Objective(br.BradleyTerry(negatives=2), penalty=0.3)
    model.likelihood = objective.likelihood
    frozen = model.item.weight.requires_grad_(False)
    trained = [p for p in model.parameters() if p is not frozen]
    loss = objective.loss_and_grads(model, batch)
    expected = bpr(model, batch) + 0.3 * sum((p**2).sum() for p in trained)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert any(p.ndim == 1 for p in trained), "biases too"
    gradients = torch.autograd.grad(expected, trained)
    for parameter, gradient in zip(trained, gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)
    assert frozen.grad is None


def test_the_penalty_is_on_what_only_the_guide_has_too(histories, batch):
    model = make(br.models.BAMF, histories, item_scores=br.Point())
    of_guide = model.user_attention.guide_scale.bias
    gradients = []
    for penalty in (0.0, 0.7):
        model.zero_grad()
        torch.manual_seed(0)
        br.Objective(penalty=penalty).loss_and_grads(model, batch)
        gradients.append(of_guide.grad.clone())
    torch.testing.assert_close(gradients[1], gradients[0] + 2 * 0.7 * of_guide.detach())


def test_tempering_scales_the_scores_terms_in_model_and_guide(histories, batch):
    model = make(br.models.BAMF, histories, **PUBLISHED_BAMF)
    length = batch.valid.sum(-1).clamp(min=1)
    for reduction, factor in (("sum", 0.3), ("mean", 0.3 / length)):
        with Tempered(0.3, reduction):
            guide, replayed = traced(model, batch)
        for trace in (guide, replayed):
            site = trace.nodes["item_attention"]
            raw = site["fn"].score.log_prob(site["value"])
            expected = raw.where(batch.valid, 0.0).sum(-1) * factor * batch.scale
            torch.testing.assert_close(site["log_prob"], expected)
        assert replayed.nodes["label"]["scale"] == batch.scale


def test_an_objective_is_its_elbo_tempered(histories, batch):
    model = make(br.models.BAMF, histories, **PUBLISHED_BAMF)
    objective = br.Objective(kl_weight=br.LinearWarmup(0.4, epochs=2), kl_reduction="mean")
    torch.manual_seed(0)
    loss = objective.loss_and_grads(model, batch, now=1.0)
    torch.manual_seed(0)
    with Tempered(0.2, "mean"):
        expected = elbo(model, batch)
    assert loss == pytest.approx(expected.item(), rel=1e-6)


USER_SCORES = br.Scores(br.Gamma("amortised"), br.Weibull(1.5), scope="user")


def test_a_users_divergence_counts_once_in_an_epoch(histories, split):
    """Whatever the blocks: the mean over batches is the sum over all observed edges."""
    model = make(br.models.BAMF, histories, user_scores=USER_SCORES, item_scores=br.Point())
    everyone = torch.arange(histories.n_users)
    site = model.attend(br.data.candidates(histories, everyone, everyone[:, None]))
    site = site["user_attention"]
    expected = kl_divergence(site.guide(), site.prior())[site.mask].sum()
    for block in (1, 3, 100):
        losses, nlls, shares = [], [], torch.zeros(histories.n_users)
        for batch in batches(split, histories, block=block).epoch(2):
            torch.manual_seed(0)
            exact = TraceMeanField_ELBO().differentiable_loss
            losses.append(exact(model.model, model.guide, batch))
            torch.manual_seed(0)
            _, trace = traced(model, batch)
            nlls.append(-trace.nodes["label"]["log_prob"].sum())
            shares.index_add_(0, batch.user, batch.share)
        torch.testing.assert_close(shares, torch.ones(histories.n_users))
        divergence = torch.stack(losses).mean() - torch.stack(nlls).mean()
        torch.testing.assert_close(divergence, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("likelihood", [br.Bernoulli(2), br.BradleyTerry(2)])
def test_vectorised_particles(likelihood, histories, batch):
    model = make(br.models.BAMF, histories)
    model.likelihood = likelihood
    vectorised = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=3)
    loop = Trace_ELBO(num_particles=3)
    with torch.no_grad():
        losses = torch.tensor(
            [
                [
                    e.differentiable_loss(model.model, model.guide, batch).item()
                    for e in (vectorised, loop)
                ]
                for _ in range(30)
            ]
        )
    error = (losses.var(0).sum() / 30).sqrt()
    assert (losses[:, 0].mean() - losses[:, 1].mean()).abs() < 4 * error


@pytest.mark.parametrize(
    "estimator",
    [TraceMeanField_ELBO(), TraceGraph_ELBO(), RenyiELBO(alpha=0.5, num_particles=2)],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("options", [{}, PUBLISHED_BAMF])
def test_any_elbo_of_pyro_trains(estimator, options, histories, split):
    torch.manual_seed(0)
    model = br.models.BAMF(histories, embedding_dim=8, **options)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    objective = br.Objective(br.Bernoulli(2), kl_weight=0.01, elbo=estimator)
    training = br.Training(max_epochs=10, learning_rate=5e-2)
    losses = br.fit(model, split, objective, training, progress=False).history["loss"]
    assert losses.iloc[-1] < 0.98 * losses.iloc[0]
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_several_particles_bound_the_evidence_more_tightly(histories, batch):
    model = make(br.models.BAMF, histories)
    with torch.no_grad():
        means = [
            torch.tensor([e.loss(model.model, model.guide, batch) for _ in range(40)]).mean()
            for e in (Trace_ELBO(), RenyiELBO(alpha=0.0, num_particles=5))
        ]
    assert means[1] < means[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl_weight": 0.0}, "kl_weight must be positive"),
        ({"kl_weight": float("nan")}, "kl_weight must be positive"),
        ({"kl_reduction": "max"}, "kl_reduction must be"),
        ({"penalty": -1.0}, "penalty must be a finite number of at least 0"),
        ({"penalty": float("inf")}, "penalty must be a finite number of at least 0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        br.Objective(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": br.Bernoulli}, "likelihood must be like Bernoulli"),
        ({"elbo": Trace_ELBO}, "elbo must be one of Pyro's, like Trace_ELBO"),
        ({"kl_weight": br.LinearWarmup}, "kl_weight must be a number, or a function of time"),
        ({"kl_weight": "1"}, "kl_weight must be a number, or a function of time"),
    ],
)
def test_other_kinds_of_arguments_are_named(options, message):
    with pytest.raises(TypeError, match=message):
        br.Objective(**options)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), "x", None])
def test_a_weight_that_a_schedule_gives_is_checked_too(weight, histories, batch):
    model = make(br.models.BAMF, histories)
    with pytest.raises(ValueError, match="weight of the scores' terms must be positive"):
        br.Objective(kl_weight=lambda now: weight).loss_and_grads(model, batch)


def test_tempered_refuses_another_reduction():
    with pytest.raises(ValueError, match="kl_reduction must be 'sum' or 'mean', not 'avg'"):
        br.inference.Tempered(0.5, "avg")
