"""Random numbers are one stream for each purpose, seed and number of keys."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import bayes_recsys as br
from bayes_recsys.evaluation import predicted_pairs
from bayes_recsys.evaluation.protocols import sampled
from bayes_recsys.streams import stream, torch_seed
from tests.conftest import make


def drawn(*arguments):
    return stream(*arguments).integers(2**62, size=4).tolist()


def test_a_stream_is_a_function_of_all_it_is_told():
    assert drawn("a", 1, 2) == drawn("a", 1, 2)
    all_of_them = [
        drawn(*arguments)
        for arguments in (
            ("a", 0), ("a", 0, 0), ("a", 0, 0, 0), ("b", 0), ("b", 0, 0), ("a", 1), ("a", 0, 1),
            ("a", 1, 0), ("a", 1, 1), ("a", 2**40), ("a", 0, 2**40), ("a", 2**32), ("a", 5, 0), ("a", 5 + 2**32),
        )
    ]  # fmt: skip
    assert len({tuple(one) for one in all_of_them}) == len(all_of_them)


def test_of_bare_numpy_two_would_be_one():
    """What the purpose and the number of keys are for."""
    one, other = (np.random.default_rng(s).integers(2**62) for s in ([5, 3], [5, 3, 0]))
    assert one == other


def test_no_draw_is_shared_by_two_streams():
    """Of 40 thousand numbers of 62 bits none comes twice."""
    keys = [(p, s, u) for p in ("a", "b") for s in range(10) for u in range(100)]
    numbers = [n for key in keys for n in stream(*key).integers(2**62, size=20).tolist()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("arguments", [("a", -1), ("a", 0, -1)])
def test_negative_numbers_are_refused(arguments):
    with pytest.raises(
        ValueError, match=r"(seed must be a whole number of at least 0|keys must not be negative)"
    ):
        stream(*arguments)


def test_seeds_for_torch_are_its_kind():
    torch.manual_seed(torch_seed("a", 3))
    assert 0 <= torch_seed("a", 3) < 2**63
    assert torch_seed("a", 3) != torch_seed("a", 3, 0) != torch_seed("b", 3, 0)


def test_a_stream_is_the_same_in_another_process():
    """Whose hashes of text are others."""
    code = "from bayes_recsys.streams import torch_seed; print(torch_seed('a', 3, 1))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert int(out) == torch_seed("a", 3, 1)


def overlap(one, other):
    return np.mean([len(a & b) for a, b in zip(one, other, strict=True)])


@pytest.fixture(scope="module")
def last():
    """Of its 400 items a sample of 99 has a quarter of another, by chance."""
    data = br.data.synthetic(n_users=50, n_items=400, length=(5, 9), seed=1).interactions
    return br.data.leave_one_out(data)


def test_training_is_not_stopped_by_the_items_it_is_judged_by(last):
    """Both parts have one item of every user, so that a bare seed would draw the same."""
    monitored, judged, by_chance = (
        [set(items[~relevant].tolist()) for _, items, relevant in sampled(last, part, seed=s)]
        for part, s in (("leave_one_out", 3), ("test", 3), ("test", 4))
    )
    expected = overlap(judged, by_chance)
    assert expected == pytest.approx(99 * 99 / 390, rel=0.1)
    assert overlap(monitored, judged) == pytest.approx(expected, rel=0.1)


def test_what_fit_monitors_is_what_was_compared(last, monkeypatch):
    seen = []

    def of_protocols(split, protocol, part, seed):
        seen.append((protocol, part, seed))
        return sampled(split, part, seed=seed)

    monkeypatch.setattr("bayes_recsys.evaluation.ranking.cases", of_protocols)
    model = br.models.GMF(br.data.histories(last))
    br.fit(model, last, training=br.Training(max_epochs=1, seed=3), progress=False)
    assert seen == [("full", "validation", 3)]


def test_users_have_other_samples(last):
    lists = [set(items[1:].tolist()) for _, items, _ in sampled(last, "test", seed=0)]
    assert overlap(lists[1:], lists[:-1]) == pytest.approx(99 * 99 / 390, rel=0.1)


def test_pairs_of_a_part_have_negatives_of_their_own(last):
    """Those of a part's number 0 too, which a bare seed would take for no part at all."""
    model = make(br.models.GMF, br.data.histories(last))

    def negatives(part, seed):
        pairs = predicted_pairs(model, last, part=part, negatives=99, seed=seed)
        pairs = pairs[pairs["label"] == 0]
        return [set(items) for _, items in pairs.groupby("user", sort=False)["item"]]

    test, by_chance = negatives("test", 3), negatives("test", 4)
    expected = overlap(test, by_chance)
    for other in ("validation", "leave_one_out"):
        assert overlap(test, negatives(other, 3)) == pytest.approx(expected, rel=0.1)
    bare = [
        br.data.negative_sampler(last).draw(torch.tensor([u]), 99, np.random.default_rng([3, u]))
        for u in range(50)
    ]
    bare = [set(last.interactions.item_ids[one[0].numpy()]) for one in bare]
    assert overlap(test, bare) == pytest.approx(expected, rel=0.1)


def test_sources_of_draws_are_independent(histories):
    """Scores drawn from prior and posterior with one seed have nothing in common."""
    model = make(br.models.BAMF, histories, user_scores=br.Scores(br.LogNormal(1.0)))
    user, item = torch.tensor([3]), torch.tensor([[1]])
    posterior, prior = (
        br.draw(model, user, item, draws=500, source=s).scores["user_attention"].log().flatten()
        for s in ("posterior", "prior")
    )
    keep = posterior.isfinite()
    posterior, prior = (x - x.mean() for x in (posterior[keep], prior[keep]))
    correlation = (posterior * prior).mean() / (posterior.std() * prior.std())
    assert abs(correlation) < 4 / int(keep.sum()) ** 0.5


def test_batches_and_users_have_other_draws(histories, split, monkeypatch):
    """Each step of training draws anew, and so does each user of a posterior."""
    seeds = []
    monkeypatch.setattr(
        "bayes_recsys.inference.epochs.torch_seed",
        lambda *what: (seeds.append(what), torch_seed(*what))[1],
    )
    model = br.models.BAMF(histories, embedding_dim=8)
    br.fit(model, split, training=br.Training(max_epochs=2, pairs=200), progress=False)
    assert len(seeds) > 8
    assert len(set(seeds)) == len(seeds)
    scores = [
        br.draw(
            make(br.models.BAMF, histories), torch.tensor([user]), torch.tensor([[1]]), draws=50
        )
        .scores["user_attention"][:, 0, 0]
        .log()
        for user in (3, 4)
    ]
    standard = [(one - one.mean()) / one.std() for one in scores]
    assert not torch.allclose(*standard, atol=0.1)
