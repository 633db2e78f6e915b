"""Draws with names for what they are of."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bayes_recsys.models.base import Model
from bayes_recsys.posterior.draws import Draws

USER_DIMS = ("chain", "draw", "user")
TARGET_DIMS = (*USER_DIMS, "item")


def labelled(model: Model, user: Tensor, item: Tensor, draws: Draws) -> xr.Dataset:
    """Draws for one user ``[1]`` and targets ``item [C]``, by the ids and titles of users, items and entries."""
    known = model.histories
    coords = {
        "chain": [0],
        "draw": np.arange(len(draws.logits)),
        "user": known.user_ids[user.numpy()],
        "item": known.item_ids[item.numpy()],
    }
    if known.titles is not None:
        coords["item_title"] = ("item", known.titles[item.numpy()])
    variables = {}
    for name, codes in draws.codes.items():
        if codes.ndim == 2:
            dim, ids = "history", known.item_ids
            real = torch.arange(codes.shape[-1]) < known.history.lengths[user][:, None]
        else:
            dim, ids = "audience", known.user_ids
            real = draws.valid[name]
        union = codes[real].unique()
        coords[dim] = ids[union.numpy()]
        if dim == "history" and known.titles is not None:
            coords["history_title"] = (dim, known.titles[union.numpy()])
        for label, values in (
            (name, draws.scores.get(name)),
            (f"{name}_weight", draws.weights[name]),
        ):
            if values is not None:
                dims = TARGET_DIMS if values.ndim == 4 else USER_DIMS
                variables[label] = (*dims, dim), _over_union(values, codes, real, union)
    variables["logit"] = (TARGET_DIMS, draws.logits[None].numpy())
    return xr.Dataset(variables, coords)


def _over_union(values: Tensor, codes: Tensor, real: Tensor, union: Tensor) -> np.ndarray:
    """Values ``[S, *rows, .., L]`` of entries that differ by row, laid out over the union of all
    entries ``[1, S, *rows, .., U]``; codes and which of them are real are ``[*rows, L]``."""
    flat = values.flatten(1, codes.ndim - 1)
    out = torch.full((*flat.shape[:-1], len(union)), torch.nan)
    rows = zip(codes.flatten(0, -2), real.flatten(0, -2), strict=True)
    for r, (row, there) in enumerate(rows):
        out[:, r][..., torch.searchsorted(union, row[there])] = flat[:, r][..., there]
    return out.unflatten(1, codes.shape[:-1])[None].numpy()
