"""What threads are used for, and memory that is kept."""

import platform
import subprocess
import sys
import threading

import pytest
import torch

import bayes_recsys as br
from bayes_recsys import threads
from bayes_recsys.scores.present import Present
from tests.conftest import make


@pytest.fixture
def two():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_an_operator_and_what_was_given_comes_back(two):
    with threads.one_thread() as given:
        assert given == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_pieces_are_done_side_by_side(two):
    """Each waits for another: one after the other they would wait for ever."""
    barrier, done = threading.Barrier(2, timeout=20), []

    def piece(number):
        assert torch.get_num_threads() == 1
        barrier.wait()
        done.append(number)

    threads.side_by_side(piece, iter([1, 2, 3, 4]))
    assert sorted(done) == [1, 2, 3, 4]
    assert torch.get_num_threads() == 2


def test_an_error_in_a_piece_is_raised(two):
    with pytest.raises(ZeroDivisionError):
        threads.side_by_side(lambda number: 1 / number, [1, 0, 2])


@pytest.mark.parametrize("n", [1, 2])
def test_the_next_is_made_ahead_and_nothing_is_lost(n):
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number

    found = []
    for number in threads.ahead(items(), n):
        found.append(number)
        assert len(made) <= number + n
    assert found == made == [0, 1, 2, 3, 4]
    assert list(threads.ahead([], n)) == []


def test_an_error_ahead_is_raised_when_it_is_due():
    def items():
        yield 1
        raise OSError("gone")

    waiting = threads.ahead(items(), 2)
    assert next(waiting) == 1
    with pytest.raises(OSError, match="gone"):
        next(waiting)


def test_two_threads_train_and_rank_as_one_does(histories, split, two):
    found = []
    for n in (1, 2):
        torch.set_num_threads(n)
        model = make(br.models.BAMF, histories)
        br.fit(model, split, br.Objective(), br.Training(max_epochs=2), progress=False)
        scores = model.score(torch.arange(9), torch.arange(30).expand(9, -1), at_once=200)
        found.append((model.state_dict(), scores))
    for name, value in found[0][0].items():
        assert torch.equal(value, found[1][0][name]), name
    torch.testing.assert_close(found[0][1], found[1][1])


def test_ranking_in_inference_mode(histories, two):
    model = make(br.models.BAMF, histories)
    with torch.inference_mode():
        user, item = torch.arange(9), torch.arange(30).expand(9, -1)
        found = model.score(user, item, at_once=200)
        assert len(br.recommend(model, ["3"], k=2)) == 2
    torch.testing.assert_close(found, model.score(user.clone(), item.clone()))


def test_memory_is_kept_and_given_back():
    """In a process of its own: what malloc is told is told for good."""
    code = """
import resource, torch
from bayes_recsys.memory import memory_kept
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        tensors = [torch.ones(2_000_000) for _ in range(5)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
usual = faults()
with memory_kept(), memory_kept():
    faults()
    kept = faults()
print(usual, kept)
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    usual, kept = map(int, printed.stdout.split())
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("this C library cannot be told")
    assert kept < usual / 10


def test_a_row_is_summed_without_a_table():
    there = torch.tensor([[True, True, False], [True, True, True]])
    present = Present.without(there, torch.tensor([[0, 3], [2, 3]]))
    values = torch.randn(4, 2, 2, 3)
    expected = values.where(present.mask, 0.0).sum(-1)
    torch.testing.assert_close(present.sum(values), expected)
