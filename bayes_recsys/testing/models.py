"""What every model must satisfy."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from typing import Any, ClassVar

import pyro
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.inspect import get_model_relations
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import bayes_recsys as br
from bayes_recsys.models import Model, Options
from bayes_recsys.testing.data import SmallData, batches, make, ragged, rows_of, with_history


class ModelTests(SmallData):
    """Inherit, and name the model and, if you like, options.

    Attributes:
        model: The class.
        values: Options to build it with.
        widest: Numbers a history entry may stand for in the largest tensor, see
            ``test_memory_is_bounded``.
    """

    model: ClassVar[type[Model]]
    values: ClassVar[dict[str, Any]] = {}
    widest: ClassVar[int] = 128

    @pytest.fixture
    def options(self) -> Options:
        """What is tested; override it to run over several."""
        return Options(self.model, self.values)

    @pytest.fixture
    def sees_history(self) -> bool:
        """Whether its logits depend on the user's history; override it where they do not."""
        return True

    def test_records_its_options(self, options, histories):
        signature = inspect.signature(options.model.__init__).parameters
        assert list(options.values) == list(signature)[2:]
        assert options.build(histories).options == options.check() == options

    def test_target_in_its_own_history_changes_nothing(self, options, histories, sees_history):
        user, item = torch.tensor([3]), torch.tensor([[5, 6, 7]])
        rows, scores = rows_of(histories.history), []
        for own in ([], [5]):
            rows[3] = [1, 2, 9, *own]
            model = make(options, with_history(histories, rows))
            scores.append(model.score(user, item)[0])
        torch.testing.assert_close(scores[1][0], scores[0][0])
        matters = not torch.allclose(scores[1][1:], scores[0][1:])
        assert matters == sees_history, (
            "logits do or do not depend on the history against what is expected: override the fixture "
            "sees_history"
        )

    def test_user_in_the_targets_audience_changes_nothing(self, options, histories):
        rows, scores = rows_of(histories.audience), []
        for own in ([], [3]):
            rows[5] = sorted({1, 7, 12, *own})
            model = make(options, replace(histories, audience=ragged(rows)), size=0.2)
            scores.append(model.score(torch.tensor([3]), torch.tensor([[5]])))
        torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)

    def test_order_of_history_changes_nothing(self, options, histories):
        model = make(options, histories, size=0.2)
        user, item = torch.arange(5), torch.arange(10).expand(5, -1)
        before = model.score(user, item)
        turned = [row[::-1] for row in rows_of(histories.history)]
        model.histories = with_history(histories, turned)
        torch.testing.assert_close(model.score(user, item), before, rtol=1e-4, atol=1e-5)

    def test_padding_and_company_change_nothing(self, options, histories):
        model = make(options, histories)
        user = histories.history.lengths.argsort()[[0, 20, -1]]
        item = torch.randint(histories.n_items, (3, 9))
        together = model.expected_logits(br.data.candidates(histories, user, item))
        for g in range(3):
            for c in range(9):
                alone = model.score(user[g : g + 1], item[g : g + 1, c : c + 1])
                torch.testing.assert_close(alone[0, 0], together[g, c], rtol=1e-4, atol=1e-5)

    def test_memory_is_bounded(self, options, histories):
        """By the entries at once, in single precision; what is trained is there anyway."""
        model = make(options, histories)
        user, item = torch.tensor([3]), torch.arange(histories.n_items)[None]
        with _Largest() as largest:
            in_parts = model.score(user, item, at_once=60)
        trained = max(p.untyped_storage().nbytes() for p in model.parameters())
        assert largest.bytes <= max(trained, 60 * self.widest * 4)
        at_once = model.score(user, item, at_once=10**9)
        torch.testing.assert_close(in_parts, at_once, rtol=1e-4, atol=1e-5)

    def test_empty_history_is_finite(self, options, histories):
        rows = rows_of(histories.history)
        rows[0] = [4]
        model = make(options, with_history(histories, rows))
        assert model.score(torch.tensor([0]), torch.tensor([[4, 5]])).isfinite().all()

    def test_every_parameter_gets_a_finite_gradient(self, options, histories, batch):
        model = make(options, histories)
        Trace_ELBO().differentiable_loss(model.model, model.guide, batch).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name

    def test_sites_of_model_and_guide(self, options, histories, batch):
        model = make(options, histories)
        br.inference.check_sites(model, batch)
        trace = poutine.trace(model.guide).get_trace(batch)
        latent = [n for n in trace.stochastic_nodes if n in model.attend(batch)]
        assert bool(latent) == model.is_random
        assert not trace.param_nodes
        for name in latent:
            mask = model.attend(batch)[name].mask
            assert trace.nodes[name]["value"].shape == mask.shape
            assert (trace.nodes[name]["value"][mask] > 0).all()

    def test_pyro_sees_the_structure(self, options, histories, batch):
        model = make(options, histories)
        relations = get_model_relations(model.model, (batch,))
        sites = [n for n, site in model.attend(batch).items() if site.attention.is_random]
        assert set(sites) <= set(relations["sample_sample"]["label"])
        assert relations["observed"] == ["label"]
        assert relations["plate_sample"]["block"] == [*sites, "label"]
        assert list(get_model_relations(model.guide, (batch,))["sample_sample"]) == sites

    def test_attends_once_a_step(self, options, histories, split):
        """Guide and model of a step see the same keys, under dropout too."""
        model, seen = make(options, histories).train(), []
        attend = model.attend

        def counted(batch):
            seen.append(attend(batch))
            return seen[-1]

        model.attend = counted
        for batch in batches(split, histories).epoch(1):
            seen.clear()
            br.Objective(br.Bernoulli(2)).loss_and_grads(model, batch)
            assert len(seen) == 1

    def test_saves_and_loads(self, options, histories, tmp_path):
        model = make(options, histories)
        br.save_model(model, tmp_path / "model")
        loaded = br.load_model(tmp_path / "model")
        user, item = torch.arange(4), torch.arange(12).expand(4, -1)
        for same in (loaded, copy.deepcopy(model)):
            assert torch.equal(same.score(user, item), model.score(user, item))
            assert same.options == model.options
            assert same.likelihood == model.likelihood
        assert loaded.histories.item_ids.tolist() == histories.item_ids.tolist()

    def test_same_seed_same_fit(self, options, histories, split):
        states = []
        for caller_state in (5, 6):
            model = make(options, histories)
            torch.manual_seed(caller_state)
            training = br.Training(max_epochs=1, seed=3)
            br.fit(model, split, br.Objective(br.Bernoulli(2)), training, progress=False)
            states.append(model.state_dict())
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])

    def test_plain_svi_agrees_with_the_module_and_trains_a_second_model(
        self, options, histories, batch
    ):
        for _ in range(2):  # Pyro's global store must not shadow the second
            by_svi, by_hand = (make(options, histories) for _ in range(2))
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

    def test_mean_of_batch_elbos_is_the_full_elbo(self, options, histories, split):
        """Both are estimates of the same number; with Point there is no noise at all."""
        model = make(options, histories, size=0.2)
        whole = list(batches(split, histories, pairs=10**9, at_once=10**9).epoch(1))
        parts = list(batches(split, histories).epoch(1))
        assert len(whole) == 1
        assert len(parts) > 5

        @torch.no_grad()
        def estimates(epoch):
            repeats, loss = (16 if model.is_random else 1), Trace_ELBO().differentiable_loss
            rows = [[loss(model.model, model.guide, b) for b in epoch] for _ in range(repeats)]
            return torch.tensor(rows).mean(1)

        full, mini = estimates(whole), estimates(parts)
        if model.is_random:
            error = (full.var() / len(full) + mini.var() / len(mini)).sqrt()
            assert (full.mean() - mini.mean()).abs() < 4 * error
            assert error < 0.01 * full.mean().abs()
        else:
            torch.testing.assert_close(full, mini, rtol=1e-5, atol=0)

    def test_ranks_recommends_and_shows_its_posterior(self, options, histories, split):
        model = make(options, histories)
        assert br.evaluate(model, split, ks=(10,)).per_user["ndcg@10"].between(0, 1).all()
        table = br.recommend(model, users=["3"], k=4)
        assert table["rank"].tolist() == [1, 2, 3, 4]
        draws = br.posterior_tree(model, ["3"], items=table["item"], draws=5)["posterior"]
        assert draws["logit"].notnull().all()


class _Largest(TorchDispatchMode):
    """The bytes of the largest tensor that anything returns."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor)]
        self.bytes = max([self.bytes, *(one.untyped_storage().nbytes() for one in tensors)])
        return out
