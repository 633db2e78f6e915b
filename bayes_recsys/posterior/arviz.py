"""Posterior and prior draws as a labelled tree that ArviZ opens."""

from __future__ import annotations

import importlib
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import h5netcdf
import xarray as xr
from xarray.backends import H5NetCDFStore

from bayes_recsys.bars import bar
from bayes_recsys.memory import check_memory
from bayes_recsys.models.base import Model
from bayes_recsys.posterior.draws import draw
from bayes_recsys.posterior.labels import labelled
from bayes_recsys.posterior.recommendations import recommend
from bayes_recsys.storage import check_room


def posterior_tree(
    model: Model,
    users: Iterable[str],
    items: Iterable[str] | None = None,
    *,
    k: int = 5,
    draws: int = 500,
    seed: int = 0,
    progress: bool = True,
) -> xr.DataTree:
    """Draws of scores, weights and logits with named coordinates.

    Groups ``posterior`` (through the guide) and, unless the model is deterministic, ``prior``.
    Each has

    ===================  =====================================================================
    ``<site>``           scores of a random site, ``(chain, draw, user, history)`` with scope
                         ``"user"``, else ``(chain, draw, user, item, history)``
    ``<site>_weight``    attention weights of every site, ``(chain, draw, user, item, history)``
    ``logit``            ``(chain, draw, user, item)``
    ===================  =====================================================================

    Coordinates are original ids; titles stand beside them as ``item_title`` and ``history_title``.

    An entry is NaN where it is the target itself; for new items there is no NaN. A site that attends over
    the targets' audiences has the dimension ``audience`` in place of ``history``, the union of these targets';
    an entry is NaN where a user has not chosen the target.

    Histories differ between users, and so do targets. So of several users each has a tree of their own, the
    child of their id (``/`` is ``%2F``), ``tree["42/posterior"]``, the same as if they were alone: memory is in proportion to what
    is asked for. For more than fits into it, see :func:`save_posterior`.

    Note:
        Draws from a guide are independent and make one chain: R-hat is undefined, and effective
        sample size says nothing about the fit.

    Args:
        model: A fitted model.
        users: User ids.
        items: Target item ids; by default the ``k`` best new items of each user.
        k: Targets per user when ``items`` is not given.
        draws: Draws in each group.
        seed: Seed of the draws.
        progress: Show a progress bar (in a terminal, after some seconds).

    Raises:
        KeyError: An id is unknown.
        MemoryError: The draws will not fit, which is found out before or after the first user.
        ValueError: ``users`` or ``items`` is empty, or a single text.
        TypeError: ``model`` is no model, but an ensemble, say: its members attend each for itself.
    """
    trees = _held(model, users, items, k=k, draws=draws, seed=seed, progress=progress)
    if len(trees) == 1:
        return next(iter(trees.values()))
    tree = xr.DataTree(children=trees)
    tree.attrs = next(iter(trees.values())).attrs
    return tree


def save_posterior(
    model: Model,
    users: Iterable[str],
    path: str | Path,
    items: Iterable[str] | None = None,
    *,
    k: int = 5,
    draws: int = 500,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """:func:`posterior_tree` as a NetCDF file, made user by user: no more than one is ever in memory.

    The file is complete or not there at all. ``xarray.open_datatree(path)`` opens all of it without reading it,
    ``xarray.open_dataset(path, group="42/posterior")`` one user of several.

    Args:
        path: The file.
        progress: Show a progress bar (in a terminal, after some seconds).

    The other arguments and what is raised are those of :func:`posterior_tree`; and ``OSError`` where the disk
    has no room.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    users = users if isinstance(users, str) else list(dict.fromkeys(map(str, users)))
    trees = _trees(model, users, items, k=k, draws=draws, seed=seed)
    trees = bar("user", "draw", len(users), over=trees, shown=progress)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        written = Path(scratch, path.name)
        # One file, open all the time: opening it reads through all that it has.
        with h5netcdf.File(written, "w") as file, trees:
            H5NetCDFStore(file).set_attributes(_about(model))
            for user, tree in trees:
                check_room(path.parent, sum(group.nbytes for group in tree.children.values()))
                for name, group in tree.children.items():
                    inside = name if len(users) == 1 else f"{user}/{name}"
                    store = H5NetCDFStore(file.create_group(inside))
                    group.to_dataset().dump_to_store(store)
        os.replace(written, path)


def _held(
    model: Model,
    users: Iterable[str],
    items: Iterable[str] | None,
    *,
    k: int,
    draws: int,
    seed: int,
    progress: bool,
) -> dict[str, xr.DataTree]:
    """All users' trees; what will not fit is refused as soon as it shows."""
    users = users if isinstance(users, str) or not isinstance(users, Iterable) else list(users)
    trees: dict[str, xr.DataTree] = {}
    total = len(users) if isinstance(users, list) else 1
    every = _trees(model, users, items, k=k, draws=draws, seed=seed)
    size = 0
    for name, tree in bar("user", "draw", total, over=every, shown=progress):
        trees[name] = tree
        size += sum(group.nbytes for group in tree.children.values())
        check_memory(
            size / len(trees) * (total - len(trees)),
            f"{draws:,} draws for {total - len(trees):,} more users",
            "draws or users, or write them with save_posterior",
        )
    return trees


def _trees(
    model: Model,
    users: Iterable[str],
    items: Iterable[str] | None,
    *,
    k: int,
    draws: int,
    seed: int,
) -> Iterator[tuple[str, xr.DataTree]]:
    """Each user's tree, one after the other."""
    if not isinstance(model, Model):
        raise TypeError(f"a model is needed, not {type(model).__name__}: attention is of one model")
    known = model.histories
    codes = known.user_codes(users)
    targets = None if items is None else known.item_codes(items)
    for user in codes.split(1):
        name = str(known.user_ids[int(user)])
        item = targets
        if item is None:
            item = known.item_codes(recommend(model, [name], k=k)["item"])
        tree = xr.DataTree.from_dict(
            {
                source: labelled(
                    model,
                    user,
                    item,
                    draw(model, user, item[None], draws=draws, source=source, seed=seed),
                )
                for source in (("posterior", "prior") if model.is_random else ("posterior",))
            }
        )
        tree.attrs = _about(model)
        yield group_of(name), tree


def group_of(user: str) -> str:
    """The name of a user's tree: the id, in which a slash would begin a tree of its own."""
    return user.replace("/", "%2F")


def _about(model: Model) -> dict[str, str]:
    return {
        "inference_library": "bayes_recsys",
        "inference_library_version": version("bayes_recsys"),
        "model": type(model).__name__,
    }


def to_arviz(
    model: Model,
    users: Iterable[str],
    items: Iterable[str] | None = None,
    *,
    k: int = 5,
    draws: int = 500,
    seed: int = 0,
    progress: bool = True,
):
    """:func:`posterior_tree` as the installed ArviZ wants it.

    Takes the same arguments.

    Returns:
        An ``arviz.InferenceData`` with ArviZ below 1.0, an ``xarray.DataTree`` from 1.0 on; for several users a
        dictionary of such, by user id.

    Example:
        >>> import bayes_recsys as br
        >>> split = br.data.split(br.data.synthetic(n_users=20, n_items=50, seed=0).interactions)
        >>> model = br.models.BAMF(br.data.histories(split), embedding_dim=8)
        >>> posterior = to_arviz(model, users=["3"], k=2, draws=10)
        >>> dict(posterior.posterior["user_attention"].sizes)
        {'chain': 1, 'draw': 10, 'user': 1, 'history': 9}
    """
    return as_arviz(_held(model, users, items, k=k, draws=draws, seed=seed, progress=progress))


def as_arviz(trees: dict[str, xr.DataTree]) -> Any:
    """Trees by user as the installed ArviZ wants them; one alone by itself."""
    arviz = import_arviz()
    if int(arviz.__version__.split(".")[0]) < 1:
        trees = {user: arviz.InferenceData.from_datatree(tree) for user, tree in trees.items()}
    return next(iter(trees.values())) if len(trees) == 1 else trees


def save_tree(tree: xr.DataTree, path: str | Path) -> None:
    """Write a tree as NetCDF, complete or not at all. Read it with ``xarray.open_datatree`` or
    ``arviz.from_netcdf``.

    Raises:
        OSError: The disk has no room for it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Asked before: HDF5 does not survive a disk that is full.
    check_room(path.parent, sum(node.dataset.nbytes for node in tree.subtree))
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        tree.to_netcdf(Path(scratch, path.name), engine="h5netcdf")
        os.replace(Path(scratch, path.name), path)


def import_arviz() -> ModuleType:
    """ArviZ, imported when first needed (it takes seconds).

    ArviZ 0.23 announces its successor with a ``FutureWarning`` once a day, and notes the day in a
    cache folder it cannot do without: the announcement is silenced, and where the folder cannot be
    made, the import is given a temporary one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return importlib.import_module("arviz")
        except OSError:
            before = os.environ.get("XDG_CACHE_HOME")
            with tempfile.TemporaryDirectory() as scratch:
                os.environ["XDG_CACHE_HOME"] = scratch
                try:
                    return importlib.import_module("arviz")
                finally:
                    if before is None:
                        del os.environ["XDG_CACHE_HOME"]
                    else:
                        os.environ["XDG_CACHE_HOME"] = before
