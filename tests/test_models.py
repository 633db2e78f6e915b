"""Properties that every model has; a new model is enrolled by existing."""

from dataclasses import replace

import pyro
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import bayes_recsys as br
from bayes_recsys.data import Ragged
from bayes_recsys.nn import simplex
from tests.cases import CASES, MODELS, PUBLISHED_BAMF, WITHOUT_HISTORY
from tests.conftest import batches, make


def with_entries(histories, rows):
    """The same histories with other entries, in the order given."""
    return replace(histories, entries=ragged(rows))


def ragged(rows):
    lengths = torch.tensor([len(r) for r in rows])
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    return Ragged(offsets, torch.tensor([v for r in rows for v in r]))


def rows_of(histories):
    return [histories.history.row(u).tolist() for u in range(histories.n_users)]


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that anything returns."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor)]
        self.bytes = max([self.bytes, *(one.untyped_storage().nbytes() for one in tensors)])
        return out


@pytest.mark.parametrize(("model_class", "options"), CASES)
class TestEveryModel:
    def test_target_in_its_own_history_changes_nothing(self, model_class, options, histories):
        model = make(model_class, histories, **options)
        user, item = torch.tensor([3]), torch.tensor([[5, 6, 7]])
        rows = rows_of(histories)
        scores = []
        for own in ([], [5]):
            rows[3] = [1, 2, 9, *own]
            model.histories = with_entries(histories, rows)
            scores.append(model.score(user, item)[0])
        torch.testing.assert_close(scores[1][0], scores[0][0])
        matters = not torch.allclose(scores[1][1:], scores[0][1:])
        without = model_class in WITHOUT_HISTORY or options.get("history") == "item"
        assert matters == (not without)

    def test_user_in_the_targets_audience_changes_nothing(self, model_class, options, histories):
        rows = [histories.audience.row(i).tolist() for i in range(histories.n_items)]
        scores = []
        for own in ([], [3]):
            rows[5] = sorted({1, 7, 12, *own})
            known = replace(histories, audience=ragged(rows))
            model = make(model_class, known, size=0.2, **options)
            scores.append(model.score(torch.tensor([3]), torch.tensor([[5, 6]])))
        torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)

    def test_order_of_history_changes_nothing(self, model_class, options, histories):
        model = make(model_class, histories, **options)
        user, item = torch.arange(5), torch.arange(10).expand(5, -1)
        before = model.score(user, item)
        model.histories = with_entries(histories, [r[::-1] for r in rows_of(histories)])
        torch.testing.assert_close(model.score(user, item), before, rtol=1e-4, atol=1e-5)

    def test_padding_and_company_change_nothing(self, model_class, options, histories):
        model = make(model_class, histories, **options)
        user = histories.history.lengths.argsort()[[0, 20, -1]]
        item = torch.randint(histories.n_items, (3, 9))
        together = model.expected_logits(br.data.candidates(histories, user, item))
        for g in range(3):
            for c in range(9):
                alone = model.score(user[g : g + 1], item[g : g + 1, c : c + 1])
                torch.testing.assert_close(alone[0, 0], together[g, c], rtol=1e-4, atol=1e-5)

    def test_memory_is_bounded_by_the_entries_at_once(self, model_class, options, histories):
        """Of widths up to 128, in single precision; what is trained is there anyway."""
        model = make(model_class, histories, **options)
        user, item = torch.tensor([3]), torch.arange(histories.n_items)[None]
        with Largest() as largest:
            in_parts = model.score(user, item, entries=60)
        trained = max(p.untyped_storage().nbytes() for p in model.parameters())
        assert largest.bytes <= max(trained, 60 * 128 * 4)
        at_once = model.score(user, item, entries=10**9)
        torch.testing.assert_close(in_parts, at_once, rtol=1e-4, atol=1e-5)

    def test_empty_history_is_finite(self, model_class, options, histories):
        rows = rows_of(histories)
        rows[0] = [4]
        model = make(model_class, with_entries(histories, rows), **options)
        assert model.score(torch.tensor([0]), torch.tensor([[4, 5]])).isfinite().all()

    def test_every_parameter_gets_a_finite_gradient(self, model_class, options, histories, batch):
        model = make(model_class, histories, **options)
        Trace_ELBO().differentiable_loss(model.model, model.guide, batch).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name

    def test_sites_of_model_and_guide(self, model_class, options, histories, batch):
        model = make(model_class, histories, **options)
        br.inference.check_sites(model, batch)
        trace = poutine.trace(model.guide).get_trace(batch)
        latent = [n for n in trace.stochastic_nodes if n in model.attend(batch)]
        assert bool(latent) == model.is_random
        assert not trace.param_nodes
        for name in latent:
            site = model.attend(batch)[name].site
            assert trace.nodes[name]["value"].shape == site.shape
            assert (trace.nodes[name]["value"][site] > 0).all()

    def test_save_and_load(self, model_class, options, histories, tmp_path):
        model = make(model_class, histories, **options)
        br.save_model(model, tmp_path / "model")
        loaded = br.load_model(tmp_path / "model")
        user, item = torch.arange(4), torch.arange(12).expand(4, -1)
        assert torch.equal(loaded.score(user, item), model.score(user, item))
        assert loaded.histories.item_ids.tolist() == histories.item_ids.tolist()
        assert loaded.options == model.options

    def test_same_seed_same_fit(self, model_class, options, histories, split):
        states = []
        for caller_state in (5, 6):
            model = make(model_class, histories, **options)
            torch.manual_seed(caller_state)
            br.fit(model, split, br.Bernoulli(2), max_epochs=1, seed=3, progress=False)
            states.append(model.state_dict())
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])

    def test_plain_svi_agrees_with_the_module_and_trains_a_second_model(
        self, model_class, options, histories, batch
    ):
        for _ in range(2):  # Pyro's global store must not shadow the second
            by_svi, by_hand = (make(model_class, histories, **options) for _ in range(2))
            before = {k: v.clone() for k, v in by_svi.state_dict().items()}
            optimizer = pyro.optim.SGD({"lr": 1e-5})
            torch.manual_seed(1)
            loss_svi = SVI(by_svi.model, by_svi.guide, optimizer, Trace_ELBO()).step(batch)
            torch.manual_seed(1)
            loss = Trace_ELBO()(by_hand, by_hand.guide)(batch)
            loss.backward()
            torch.optim.SGD(by_hand.parameters(), lr=1e-5).step()
            assert loss_svi == pytest.approx(loss.item(), rel=1e-6)
            for (name, a), b in zip(by_svi.named_parameters(), by_hand.parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7, msg=name)
                assert not torch.equal(b, before[name]), name

    def test_mean_of_batch_elbos_is_the_full_elbo(self, model_class, options, histories, split):
        """Both are estimates of the same number; with Point there is no noise at all."""
        model = make(model_class, histories, size=0.2, **options)
        whole = list(batches(split, histories, pairs=10**9, entries=10**9).epoch(1))
        parts = list(batches(split, histories, pairs=120).epoch(1))
        assert len(whole) == 1
        assert len(parts) > 5

        def estimates(epoch):
            repeats = 40 if model.is_random else 1
            with torch.no_grad():
                return torch.tensor([[elbo(model, b) for b in epoch] for _ in range(repeats)]).mean(
                    1
                )

        full, mini = estimates(whole), estimates(parts)
        if model.is_random:
            error = (full.var() / len(full) + mini.var() / len(mini)).sqrt()
            assert (full.mean() - mini.mean()).abs() < 4 * error
            assert error < 0.01 * full.mean().abs()
        else:
            torch.testing.assert_close(full, mini, rtol=1e-5, atol=0)


def elbo(model, batch):
    return Trace_ELBO().differentiable_loss(model.model, model.guide, batch)


def test_discovery_finds_models():
    assert br.models.BAMF in MODELS


def test_point_loss_is_the_scaled_cross_entropy(histories, batch):
    model = make(br.models.BAMF, histories, user_scores=br.Point(), item_scores=br.Point())
    logits = model.expected_logits(batch)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[batch.mask], batch.label[batch.mask], reduction="sum"
    )
    torch.testing.assert_close(elbo(model, batch), cross_entropy * batch.scale)
    assert batch.scale > 1


def test_point_pairwise_loss_is_the_scaled_bpr_with_its_penalty(histories, batch):
    model = make(br.models.BAMF, histories, user_scores=br.Point(), item_scores=br.Point())
    likelihood = br.BradleyTerry(negatives=2, l2=0.3)
    loss = Trace_ELBO().differentiable_loss(model.model, model.guide, batch, likelihood)
    x = model.expected_logits(batch).unflatten(1, (-1, 3))
    real = batch.mask.unflatten(1, (-1, 3))[..., 0]
    bpr = -((x[..., :1] - x[..., 1:]).sigmoid().log().sum(-1))[real].sum()
    norm = sum((p**2).sum() for p in model.parameters() if p.ndim > 1)
    torch.testing.assert_close(loss, bpr * batch.scale + 0.3 * norm)


def test_tempering_scales_the_scores_terms_in_model_and_guide(histories, batch):
    model = make(br.models.BAMF, histories, **PUBLISHED_BAMF)
    length = batch.valid.sum(-1, keepdim=True).clamp(min=1)
    for reduction, factor in (("sum", 0.3), ("mean", 0.3 / length)):
        terms = (br.Bernoulli(2), 0.3, reduction)
        guide = poutine.trace(model.guide).get_trace(batch, *terms)
        replayed = poutine.trace(poutine.replay(model.model, guide)).get_trace(batch, *terms)
        for trace in (guide, replayed):
            trace.compute_log_prob()
            site = trace.nodes["item_attention"]
            raw = site["fn"].base_dist.log_prob(site["value"])
            expected = raw.where(batch.valid, 0.0) * factor * batch.scale
            torch.testing.assert_close(site["log_prob"], expected)
        assert replayed.nodes["label"]["scale"] == batch.scale


USER_SCORES = br.Scores(br.Gamma("amortised"), br.Weibull(1.5), scope="user")


def test_a_users_divergence_counts_once_in_an_epoch(histories, split):
    """Whatever the blocks: the mean over batches is the sum over all observed edges."""
    model = make(br.models.BAMF, histories, user_scores=USER_SCORES, item_scores=br.Point())
    likelihood = br.Bernoulli(2)
    everyone = torch.arange(histories.n_users)
    site = model.attend(br.data.candidates(histories, everyone, everyone[:, None]))
    site = site["user_attention"]
    expected = kl_divergence(site.guide(), site.prior())[site.site].sum()
    for block in (1, 3, 100):
        losses, nlls, shares = [], [], torch.zeros(histories.n_users)
        for batch in batches(split, histories, block=block).epoch(2):
            torch.manual_seed(0)
            elbo = TraceMeanField_ELBO().differentiable_loss
            losses.append(elbo(model.model, model.guide, batch, likelihood))
            torch.manual_seed(0)
            guide = poutine.trace(model.guide).get_trace(batch, likelihood)
            trace = poutine.trace(poutine.replay(model.model, guide)).get_trace(batch, likelihood)
            trace.compute_log_prob()
            nlls.append(-trace.nodes["label"]["log_prob"].sum())
            shares.index_add_(0, batch.user, batch.share)
        torch.testing.assert_close(shares, torch.ones(histories.n_users))
        divergence = torch.stack(losses).mean() - torch.stack(nlls).mean()
        torch.testing.assert_close(divergence, expected, rtol=1e-4, atol=1e-3)


def test_a_users_scores_are_shared_by_targets(histories):
    model = make(br.models.BAMF, histories, user_scores=USER_SCORES, item_scores=br.Point())
    item = torch.tensor([[3, 4, 5], [6, 7, 8]])
    scores = br.draw(model, torch.tensor([1, 2]), item, draws=7)
    score = scores.scores["user_attention"]
    assert score.shape == (7, 2, scores.codes["user_attention"].shape[1])
    assert "item_attention" not in scores.scores
    for g, c in ((0, 0), (0, 2), (1, 1)):
        valid = scores.valid["user_attention"][g, c]
        weight = simplex(score[:, g].log(), valid, beta=0.5)
        torch.testing.assert_close(
            scores.weights["user_attention"][:, g, c][:, valid], weight[:, valid]
        )


@pytest.mark.parametrize("likelihood", [br.Bernoulli(2), br.BradleyTerry(2)])
def test_vectorised_particles(likelihood, histories, batch):
    model = make(br.models.BAMF, histories)
    elbo = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=3)
    loop = Trace_ELBO(num_particles=3)
    with torch.no_grad():
        losses = torch.tensor(
            [
                [
                    e.differentiable_loss(model.model, model.guide, batch, likelihood).item()
                    for e in (elbo, loop)
                ]
                for _ in range(30)
            ]
        )
    error = (losses.var(0).sum() / 30).sqrt()
    assert (losses[:, 0].mean() - losses[:, 1].mean()).abs() < 4 * error


def test_labels_can_be_drawn(histories):
    model = make(br.models.BAMF, histories)
    batch = br.data.candidates(histories, torch.tensor([1, 2]), torch.tensor([[3, 4], [5, 6]]))
    label = poutine.trace(model.model).get_trace(batch).nodes["label"]
    assert not label["is_observed"]
    assert label["value"].shape == (2, 2, 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda h, s: br.models.BAMF(s), "histories must be data.histories"),
        (lambda h, s: br.models.BAMF(h, user_scores=br.LogNormal()), "scores must be Scores"),
        (lambda h, s: br.Scores(prior=br.Gamma), "prior must be a family like"),
        (lambda h, s: br.fit(br.models.BAMF(h), s, br.Bernoulli), "likelihood must be like"),
        (lambda h, s: br.evaluate("model", s), r"a scorer has score\(user, item\)"),
    ],
)
def test_wrong_kinds_of_arguments_are_named(build, message, histories, split):
    with pytest.raises(TypeError, match=message):
        build(histories, split)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guide": br.Point()}, "contradicts Scores"),
        ({"prior": br.Point()}, "contradicts Scores"),
        ({"prior": br.LogNormal("amortised")}, "a prior does not see the query"),
        ({"scope": "item"}, "scope must be one of user, interaction"),
        ({"prior_mean": "zero"}, "prior_mean must be one of"),
    ],
)
def test_contradictory_scores_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        br.Scores(**options)


def test_a_guide_without_a_site_is_an_error(histories, batch, split):
    class Forgetful(br.models.BAMF):
        def guide(self, *args, **kwargs):
            return {}

    with pytest.raises(
        ValueError, match=r"only in the model \['item_attention', 'user_attention'\]"
    ):
        br.fit(Forgetful(histories, **PUBLISHED_BAMF), split, max_epochs=1, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy": "cosine"}, "energy must be one of dot, prod, concat"),
        ({"combine": "add"}, "combine must be one of prod, context"),
        ({"item_table": "both"}, "item_table must be"),
        ({"beta": 0.0}, "beta must be in"),
        ({"tau": 0.5}, "tau must be at least 1"),
        ({"embedding_dim": 0}, "at least 1"),
        ({"values": "both"}, "values must be"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"strength": "item"}, "strength must be"),
        ({"item_scores": br.Scores(scope="user")}, "contradicts a target's scores"),
        ({"history": "none"}, "history must be one of user, item, both"),
        ({"history": "both", "strength": "both"}, "user and target attend over different entries"),
        ({"history": "item"}, "scope='user' contradicts history='item'"),
        ({"history": "item", "item_table": "shared"}, "no item is attended over"),
    ],
)
def test_bad_options_are_named(options, message, histories):
    with pytest.raises(ValueError, match=message):
        br.models.BAMF(histories, **options)
