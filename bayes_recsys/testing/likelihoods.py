"""What every likelihood must satisfy."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import ClassVar

import pyro
import pyro.poutine as poutine
import pytest
import torch
from torch import Tensor

import bayes_recsys as br
from bayes_recsys.data import Batch
from bayes_recsys.likelihoods import Likelihood, NoProbability
from bayes_recsys.testing.data import SmallData, batches


class LikelihoodTests(SmallData):
    """Inherit, and name the likelihood.

    Attributes:
        likelihood: The instance to test.
        epochs: Within which BAMF learns by it, at a learning rate of 0.01.
    """

    likelihood: ClassVar[Likelihood]
    epochs: ClassVar[int] = 15

    @pytest.fixture
    def batch(self, split, histories) -> Batch:
        """A training batch with the candidates that the likelihood wants."""
        made = batches(split, histories, negatives=self.likelihood.negatives, pairs=200)
        return next(iter(made.epoch(1)))

    def test_a_better_logit_of_a_positive_is_more_likely(self, batch):
        logits = torch.randn(batch.item.shape, requires_grad=True)
        total = observed(self.likelihood, logits, batch)
        (slope,) = torch.autograd.grad(total, logits)
        is_positive = (batch.label == 1) & batch.mask
        assert (slope[is_positive] > 0).all()
        assert (slope[(batch.label == 0) & batch.mask] <= 0).all()

    def test_what_is_masked_counts_nothing(self, batch):
        logits = torch.randn(batch.item.shape)
        hidden = torch.rand(batch.item.shape) < 0.3
        hidden &= batch.label == 0
        masked = replace(batch, mask=batch.mask & ~hidden)
        other = logits.masked_fill(~masked.mask, 3.0)
        totals = [observed(self.likelihood, one, masked) for one in (logits, other)]
        torch.testing.assert_close(*totals)
        assert totals[0].isfinite()

    def test_blocks_count_once(self, batch):
        """All blocks together are the sum of each alone: nothing is broadcast over them."""
        logits = torch.randn(batch.item.shape)
        alone = [
            observed(self.likelihood, logits[g : g + 1], block(batch, g))
            for g in range(len(logits))
        ]
        assert len(alone) > 1
        torch.testing.assert_close(observed(self.likelihood, logits, batch), sum(alone))

    def test_extreme_logits_are_finite(self, batch):
        logits = 80 * torch.randn(batch.item.shape).sign()
        logits.requires_grad_()
        total = observed(self.likelihood, logits, batch)
        total.backward()
        assert total.isfinite()
        assert logits.grad.isfinite().all()

    def test_held_out_is_what_is_observed(self):
        """One user's positives, each with its candidates: the same by both."""
        n = self.likelihood.negatives or 7
        logits = torch.randn(1, 1, 1 + n)
        label = torch.zeros(1, 1 + n)
        label[0, 0] = 1
        candidates = torch.arange(1 + n)[None]
        there = torch.ones(1, 1 + n, dtype=torch.bool)
        none = torch.zeros(1, 1, dtype=torch.long)
        batch = Batch(
            torch.tensor([0]), candidates, there, none, there[:, :1], own=torch.ones_like(candidates),
            inside=candidates[:, :0], share=torch.ones(1), label=label,
            negatives=self.likelihood.negatives or 0,
        )  # fmt: skip
        held_out = self.likelihood.log_likelihood(logits)
        assert held_out.shape[:2] == (1, 1)
        torch.testing.assert_close(held_out.sum(), observed(self.likelihood, logits[:, 0], batch))

    def test_a_probability_is_one_or_there_is_none(self):
        logits, kind = torch.linspace(-3, 3, 7), type(self.likelihood)
        if kind.probability is not Likelihood.probability:
            p = self.likelihood.probability(logits)
            assert p.diff().gt(0).all()
            assert p.min() > 0
            assert p.max() < 1
        else:
            with pytest.raises(NoProbability, match=type(self.likelihood).__name__):
                self.likelihood.probability(logits)

    def test_learns_is_saved_and_says_how_probable(self, split, histories, tmp_path):
        torch.manual_seed(0)
        model = br.models.BAMF(histories, embedding_dim=8)
        training = br.Training(max_epochs=self.epochs, learning_rate=1e-2)
        before = br.predictive_nll(with_likelihood(model, self.likelihood), split).mean()
        fit = br.fit(model, split, br.Objective(self.likelihood), training, progress=False)
        assert fit.history["loss"].iloc[-1] < fit.history["loss"].iloc[0]
        assert br.predictive_nll(model, split).mean() < before
        br.save_model(model, tmp_path / "model")
        loaded = br.load_model(tmp_path / "model")
        assert loaded.likelihood == self.likelihood
        assert br.predictive_nll(loaded, split).equals(br.predictive_nll(model, split))
        assert len(br.recommend(loaded, users=["3"], k=4)) == 4


def observed(likelihood: Likelihood, logits: Tensor, batch: Batch) -> Tensor:
    """``ln p`` of what a batch observes, without its scale."""

    def site() -> None:
        with pyro.plate("block", len(batch.user), dim=-2):
            likelihood.observe(logits, batch)

    return poutine.trace(site).get_trace().log_prob_sum()


def block(batch: Batch, g: int) -> Batch:
    """One of its blocks."""
    parts = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return replace(batch, **{k: v[g : g + 1] for k, v in parts.items() if isinstance(v, Tensor)})


def with_likelihood(model: br.models.Model, likelihood: Likelihood) -> br.models.Model:
    """The model as if it had been fitted with it."""
    model.likelihood = likelihood
    return model
