"""The likelihoods satisfy what the package ships for likelihoods."""

from dataclasses import replace

import pyro
import torch

import bayes_recsys as br
from bayes_recsys.testing import LikelihoodTests
from tests.conftest import batches


class TestBernoulli(LikelihoodTests):
    likelihood = br.Bernoulli(negatives=2)


class Renamed(br.Bernoulli):
    """The probability of another."""


class TestRenamed(LikelihoodTests):
    likelihood = Renamed()

    # What it learns and how it is saved is the other's too.
    test_learns_is_saved_and_says_how_probable = None


class TestBradleyTerry(LikelihoodTests):
    likelihood = br.BradleyTerry(negatives=2)


class TestSoftmax(LikelihoodTests):
    likelihood = br.Softmax()


class TestSampledSoftmax(LikelihoodTests):
    likelihood = br.Softmax(negatives=5)


def test_a_softmax_of_one_negative_is_a_comparison():
    logits = torch.randn(7, 2)
    one, other = br.Softmax(negatives=1), br.BradleyTerry(negatives=1)
    torch.testing.assert_close(one.log_likelihood(logits), other.log_likelihood(logits))


def test_choices_drawn_have_the_frequencies_of_their_softmax(split, histories):
    """Without labels one item of the catalogue is drawn, never one that cannot be."""
    batch = next(batches(split, histories, negatives=None).epoch(1))
    logits = torch.randn(batch.item.shape)
    seen = torch.zeros_like(logits)
    unseen = replace(batch, label=None)
    for _ in range(2000):
        with pyro.plate("block", len(batch.user), dim=-2):
            trace = pyro.poutine.trace(br.Softmax().observe).get_trace(logits, unseen)
        seen += trace.nodes["choice"]["value"][:, 0]
    expected = logits.masked_fill(~batch.mask, -torch.inf).softmax(-1)
    assert not seen[~batch.mask].any()
    torch.testing.assert_close(seen / 2000, expected, atol=0.05, rtol=0)
