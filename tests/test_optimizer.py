"""Updates of the rows that a batch uses, and of no others."""

import pytest
import torch
from torch import nn

import bayes_recsys as br
from bayes_recsys.inference.optimizer import RowUpdates

from .test_state import Stops, same_weights

RATE, DECAY = 0.1, 0.5


def by_hand(table, seen, gradients):
    """AdamW's formulas a row at a time, each row's averages moving only where it is seen."""
    table, m, v = table.clone(), torch.zeros_like(table), torch.zeros_like(table)
    for step, (rows, gradient) in enumerate(zip(seen, gradients, strict=True), start=1):
        for row in set(rows.tolist()):
            g = gradient[rows == row].sum(0)
            table[row] *= 1 - RATE * DECAY
            m[row] = 0.9 * m[row] + 0.1 * g
            v[row] = 0.999 * v[row] + 0.001 * g**2
            corrected = (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            table[row] -= RATE * corrected * m[row] / (v[row].sqrt() + 1e-8)
    return table


@pytest.mark.parametrize("sparse", [True, False])
def test_rows_move_by_lazy_adamw(sparse):
    """A gradient of a whole table counts in its rows that are not zero."""
    table = nn.Embedding(6, 3, sparse=sparse)
    other = nn.Parameter(torch.zeros(2))
    start = table.weight.detach().clone()
    optimizer = RowUpdates(torch.optim.AdamW([other]), [(table.weight, DECAY)], RATE)
    seen = [torch.tensor([0, 2, 2]), torch.tensor([2, 5]), torch.tensor([0, 5, 0])]
    gradients = [torch.randn(len(rows), 3) for rows in seen]
    for rows, gradient in zip(seen, gradients, strict=True):
        ((table(rows) * gradient).sum() + other.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(table.weight.detach(), by_hand(start, seen, gradients))
    assert torch.equal(table.weight[[1, 3, 4]], start[[1, 3, 4]])
    assert (other < 0).all()


MODELS = [
    (br.models.BAMF, {}),
    (br.models.BAMF, {"history": "both"}),
    (br.models.BAMF, {"item_table": "shared"}),
    (br.models.DELF, {}),
    (br.models.DACR, {}),
]


@pytest.mark.parametrize(("kind", "options"), MODELS, ids=lambda one: str(one))
def test_models_train_on_sparse_tables_and_resume(kind, options, split, histories):
    def fit(**more):
        torch.manual_seed(0)
        model = kind(histories, **options)
        training = br.Training(max_epochs=2, pairs=300, learning_rate=1e-2, sparse=True)
        return br.fit(model, split, training=training, progress=False, **more)

    stops = Stops(2, 2)
    straight = fit()
    fit(callbacks=[stops])
    assert same_weights(fit(resume=stops.kept).model, straight.model)
    assert straight.history["loss"].is_monotonic_decreasing
    assert not any(one.sparse for one in straight.model.modules() if isinstance(one, nn.Embedding))


def test_an_item_that_no_batch_has_stays():
    """Its row of the histories' table neither moves nor decays."""
    data = br.data.synthetic(n_users=20, n_items=150, length=(8, 12), seed=1).interactions
    split = br.data.split(data)
    histories = br.data.histories(split)
    torch.manual_seed(0)
    model = br.models.BAMF(histories)
    start = model.history.weight.detach().clone()
    never = histories.audience.lengths == 0
    training = br.Training(max_epochs=1, sparse=True)
    br.fit(model, split, training=training, progress=False)
    assert never.any()
    assert torch.equal(model.history.weight[never], start[never])
    assert (model.history.weight[~never] != start[~never]).any(1).all()


def test_what_contradicts_is_refused(split, histories):
    model = br.models.BAMF(histories)
    sparse, dense = br.Training(max_epochs=1, sparse=True), br.Training(max_epochs=1)
    with pytest.raises(ValueError, match="penalty= is on all"):
        br.fit(model, split, br.Objective(penalty=0.1), sparse, progress=False)
    for table in (model.user, model.item, model.history):
        table.requires_grad_(False)
    with pytest.raises(ValueError, match="the model trains none"):
        br.fit(model, split, training=sparse, progress=False)
    model.requires_grad_(True)
    stops = Stops(1, 1)
    br.fit(model, split, training=dense, callbacks=[stops], progress=False)
    with pytest.raises(ValueError, match="sparse=False"):
        br.fit(model, split, training=sparse, resume=stops.kept, progress=False)
