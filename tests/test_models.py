"""Properties that every model has; a new model is enrolled by existing."""

from dataclasses import replace

import pyro
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.inspect import get_model_relations
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import bayes_recsys as br
from bayes_recsys.data import Ragged
from tests.cases import CASES, MODELS, WITHOUT_HISTORY
from tests.conftest import batches, elbo, make


def with_history(histories, rows):
    """The same with other histories, in the order given."""
    return replace(histories, history=ragged(rows))


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
            model.histories = with_history(histories, rows)
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
        model.histories = with_history(histories, [r[::-1] for r in rows_of(histories)])
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
            in_parts = model.score(user, item, at_once=60)
        trained = max(p.untyped_storage().nbytes() for p in model.parameters())
        assert largest.bytes <= max(trained, 60 * 128 * 4)
        together = model.score(user, item, at_once=10**9)
        torch.testing.assert_close(in_parts, together, rtol=1e-4, atol=1e-5)

    def test_empty_history_is_finite(self, model_class, options, histories):
        rows = rows_of(histories)
        rows[0] = [4]
        model = make(model_class, with_history(histories, rows), **options)
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
            mask = model.attend(batch)[name].mask
            assert trace.nodes[name]["value"].shape == mask.shape
            assert (trace.nodes[name]["value"][mask] > 0).all()

    def test_pyro_sees_the_structure(self, model_class, options, histories, batch):
        model = make(model_class, histories, **options)
        relations = get_model_relations(model.model, (batch,))
        sites = [n for n, site in model.attend(batch).items() if site.attention.is_random]
        assert set(sites) <= set(relations["sample_sample"]["label"])
        assert relations["observed"] == ["label"]
        assert relations["plate_sample"]["block"] == [*sites, "label"]
        of_guide = get_model_relations(model.guide, (batch,))
        assert list(of_guide["sample_sample"]) == sites

    def test_pyro_draws_the_structure(self, model_class, options, histories, batch):
        pytest.importorskip("graphviz")
        model = make(model_class, histories, **options)
        source = pyro.render_model(model.model, (batch,), render_params=True).source
        sites = [n for n, site in model.attend(batch).items() if site.attention.is_random]
        assert all(f"{name} -> label" in source for name in sites)
        assert "label" in source

    def test_save_and_load(self, model_class, options, histories, tmp_path):
        model = make(model_class, histories, **options)
        br.save_model(model, tmp_path / "model")
        loaded = br.load_model(tmp_path / "model")
        user, item = torch.arange(4), torch.arange(12).expand(4, -1)
        assert torch.equal(loaded.score(user, item), model.score(user, item))
        assert loaded.histories.item_ids.tolist() == histories.item_ids.tolist()
        assert loaded.options == model.options

    def test_same_seed_same_fit(self, model_class, options, histories, split):
        states, objective = [], br.Objective(br.Bernoulli(2))
        for caller_state in (5, 6):
            model = make(model_class, histories, **options)
            torch.manual_seed(caller_state)
            br.fit(model, split, objective, br.Training(max_epochs=1, seed=3), progress=False)
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
        whole = list(batches(split, histories, pairs=10**9, at_once=10**9).epoch(1))
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


def test_discovery_finds_models():
    assert {br.models.BAMF, br.models.DELF} < set(MODELS)
    assert br.models.Model not in MODELS
