"""What cannot fit into memory is refused with figures, before anything is drawn or trained."""

import pytest
import torch

import bayes_recsys as br
from bayes_recsys import memory


@pytest.fixture(scope="module")
def split():
    return br.data.split(br.data.synthetic(n_users=30, n_items=60, seed=0).interactions)


@pytest.fixture(scope="module")
def model(split):
    return br.models.BAMF(br.data.histories(split), embedding_dim=8)


@pytest.mark.parametrize(
    ("call", "lower"),
    [
        (lambda model, split: br.to_arviz(model, ["0"], draws=10**9), "draws, users or items"),
        (lambda model, split: br.recommend(br.Posterior(model, draws=10**9)), "draws"),
        (lambda model, split: br.models.GMF(model.histories, embedding_dim=10**9), "embedding_dim"),
        (lambda model, split: br.data.synthetic(n_users=10**6, n_items=10**6), "n_users, n_items or length"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused(call, lower, model, split):
    with pytest.raises(MemoryError, match=rf"GiB of memory, and [\d.,]+ are free: lower {lower}"):
        call(model, split)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda model, split: br.fit(model, split, progress=False), "training would take"),
        (lambda model, split: br.baselines.EASE(split), "EASE of 30 would take"),
        (lambda model, split: br.posterior_tree(model, ["0", "1"], draws=50), "scores would take"),
    ],
)
def test_so_is_a_little_where_less_is_free(call, what, model, split, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000)
    with pytest.raises(MemoryError, match=what):
        call(model, split)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, split: br.fit(model, split, br.Objective(br.Bernoulli(61)), progress=False),
        lambda model, split: br.predictive_nll(br.Posterior(model), split, negatives=61),
    ],
)
def test_negatives_are_no_more_than_items(call, model, split):
    with pytest.raises(ValueError, match="negatives=61, but there are only 60 items"):
        call(model, split)


def test_cut_offs_beyond_the_catalogue_take_no_more_memory(model, split):
    evaluation = br.evaluate(model, split, ks=(10**9,))
    assert evaluation.per_user[f"recall@{10**9}"].eq(1).all()


def test_draws_for_many_users_are_refused_after_the_first(model, split, monkeypatch):
    users = [str(user) for user in range(30)]
    one = br.posterior_tree(model, ["0"], draws=50)
    size = sum(group.nbytes for group in one.children.values())
    monkeypatch.setattr(memory, "free_memory", lambda: 10 * size)
    with pytest.raises(MemoryError, match=r"50 draws for 29 more users .* with save_posterior"):
        br.posterior_tree(model, users, draws=50)
    br.posterior_tree(model, users[:5], draws=50)


def test_the_least_that_training_takes_is_no_more_than_it_does(split):
    """Numbers of the largest block alone."""
    from bayes_recsys.data import TrainingBatches, negative_sampler

    histories = br.data.histories(split)
    positives = split.items_by_user("train")
    longest, most = int(histories.history.lengths.max()), int(positives.lengths.max())
    for negatives, block, width in ((4, 32, 5 * most), (4, 2, 10), (None, 32, 60)):
        made = TrainingBatches(
            positives, histories, negative_sampler(split), negatives, block=block
        )
        candidates = 60 if negatives is None else 5 * len(positives.values)
        least = made.least_memory(differing=True)
        assert least == 8 * candidates + 64 * width * longest
        assert made.least_memory(differing=False) < least
        largest = max(torch.tensor(one.valid.shape[1:]).prod() for one in made.epoch(1))
        assert largest <= width * longest


def test_a_container_has_less_than_its_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    whole = memory.free_memory()
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 700000\ninactive_file 250000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() == pytest.approx(whole, rel=0.2)
    (tmp_path / "memory.max").write_text("3000000\n")
    assert memory.free_memory() == 2_250_000, "with what the cache of files would give back"
