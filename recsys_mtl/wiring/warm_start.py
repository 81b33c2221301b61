"""A trained model's weights into a new network: tables by the value of the id, the rest by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.config.training import WarmStartConfig
from recsys_mtl.data.parent import Parent
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import Problem, UserError
from recsys_mtl.features.table import features_by_table
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.model.catalogues import item_key
from recsys_mtl.model.embeddings import Embeddings, table_name
from recsys_mtl.model.network import own_table
from recsys_mtl.training.optim_state import copy_rows, load_optimizer_tensors
from recsys_mtl.training.step import TrainingStep

log = logging.getLogger(__name__)
Rows = NDArray[np.int64]
_TABLES = "embeddings.embedding_bags."


@dataclass(frozen=True)
class Taken:
    """What a network took over.

    Attributes:
        tables: name -> numbers of `rows`, of those `taken`, `new`, and the parent's that were
            `left`; catalogues of retrieval tasks too.
        weights: other tensors that were taken.
        optimizer: `fresh` or `kept`.
        facts: of the parent.
    """

    tables: Mapping[str, Mapping[str, int]]
    weights: int
    optimizer: str
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The section `warm_start` of result.json."""
        return {
            **self.facts,
            "tables": {name: dict(counts) for name, counts in self.tables.items()},
            "weights": self.weights,
            "optimizer": self.optimizer,
        }


def start_from(
    parent: Parent, step: TrainingStep, preprocessor: Preprocessor, warm: WarmStartConfig
) -> Taken:
    """Copy the parent's weights into a network that is not yet trained.

    Rows of tables and catalogues are matched by value; those that the parent lacks stay as they
    were initialised. All other weights have the parent's names and shapes, or nothing is copied.

    Args:
        parent: the model to start from.
        step: of the new network.
        preprocessor: of the new rows, see `recsys_mtl.data.parent.continued`.
        warm: what is taken.

    Raises:
        UserError: weights that do not match; the network is unchanged.
    """
    network, complete = step.network, warm.take == "all"
    maps = _table_maps(preprocessor, parent)
    maps |= _own_table_maps(network, parent, maps)
    if complete:
        maps |= _item_maps(network, preprocessor, parent)
    state = network.state_dict()
    others = [name for name in state if name not in maps] if complete else []
    problems = [*_mismatches(state, parent.weights, maps, others, complete=complete)]
    if problems:
        raise UserError(*problems)
    tables, own = {}, _own_rows(network.embeddings, maps)
    with torch.no_grad():
        for name, rows in maps.items():
            copy_rows(state[name], parent.weights[name], own[name])
            known = int((rows >= 0).sum())
            tables[_shown(name)] = {
                "rows": len(rows),
                "taken": known,
                "new": len(rows) - known,
                "left": len(parent.weights[name]) - known,
            }
        for name in others:
            state[name].copy_(parent.weights[name])
    optimizer = "fresh"
    if warm.optimizer == "kept":
        if parent.optimizer:
            load_optimizer_tensors(step, parent.optimizer, own)
            optimizer = "kept"
        else:
            log.warning("the model to start from was stored without optimizer state: it is fresh")
    taken = Taken(tables, len(others), optimizer, parent.facts)
    _report(taken)
    return taken


def _report(taken: Taken) -> None:
    each = ", ".join(
        f"{name} {c['taken']:,} of {c['rows']:,} rows ({c['new']:,} new, {c['left']:,} left)"
        for name, c in taken.tables.items()
    )
    log.info(
        "warm start from %s: %d weights; tables: %s; optimizer state %s",
        taken.facts.get("model", "a model"), taken.weights, each or "none", taken.optimizer,
    )  # fmt: skip


def _table_maps(preprocessor: Preprocessor, parent: Parent) -> dict[str, Rows]:
    """Weight -> (rows,) row of the parent's table, -1 of new ones, of tables that both have.

    Raises:
        UserError: rows of a table cannot be matched.
    """
    old = features_by_table(parent.preprocessor.features)
    maps: dict[str, Rows] = {}
    problems = []
    for key, (feature, *_) in features_by_table(preprocessor.features).items():
        if key not in old:
            continue
        try:
            maps[_weight_of(key)] = feature.coder.same_rows(old[key][0].coder)
        except ValueError as error:
            what = "rows that cannot be matched with the parent's"
            problems.append(Problem(what, f"features.{feature.name}", found=str(error)))
    if problems:
        raise UserError(*problems)
    return maps


def _own_table_maps(
    network: MultiTaskNetwork, parent: Parent, maps: Mapping[str, Rows]
) -> dict[str, Rows]:
    """The same for the tasks' own copies of these tables, where both have them."""
    both = network.state_dict().keys() & parent.weights.keys()
    copies = {
        _weight_of(own_table(table.key, task)): maps[shared]
        for table in network.embeddings.tables
        if (shared := _weight_of(table.key)) in maps
        for task in network.task_names
    }
    return {name: rows for name, rows in copies.items() if name in both}


def _item_maps(
    network: MultiTaskNetwork, preprocessor: Preprocessor, parent: Parent
) -> dict[str, Rows]:
    """The same for the catalogues of retrieval tasks."""
    return {
        f"items.{item_key(task.name)}": preprocessor.labels[task.name].same_items(
            parent.preprocessor.labels[task.name]
        )
        for task in network.tasks
        if task.items and not task.table
    }


def _own_rows(embeddings: Embeddings, maps: Mapping[str, Rows]) -> dict[str, Rows]:
    """The same for this process' rows of sharded tables."""
    own = {
        f"{_TABLES}{name}.weight": ranges[parallel.rank()]
        for name, ranges in embeddings.ranges.items()
    }
    every = {name: own.get(name, range(len(rows))) for name, rows in maps.items()}
    return {name: maps[name][rows.start : rows.stop] for name, rows in every.items()}


def _mismatches(
    state: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    maps: Mapping[str, Rows],
    others: list[str],
    *,
    complete: bool,
) -> list[Problem]:
    """Weights whose names or shapes are not the parent's; the first of each sort."""
    where = "training.warm_start.model"
    problems = []
    for name in maps:
        ours, theirs = state[name].shape[1:], weights[name].shape[1:]
        if ours != theirs:
            widths = f"{theirs[0]}", f"{ours[0]}"
            problems.append(Problem(f"width of table {_shown(name)}", where, *widths))
    shapes = {name: (tuple(state[name].shape), name in weights) for name in others}
    missing = [name for name, (_, there) in shapes.items() if not there]
    more = [name for name in weights if name not in state] if complete else []
    other = [
        name
        for name, (shape, there) in shapes.items()
        if there and shape != tuple(weights[name].shape)
    ]
    fix = "use the parent's `model` section, or take: tables"
    for what, names in (
        ("weights that the parent lacks", missing),
        ("weights of the parent that the network lacks", more),
        ("weights of another shape than the parent's", other),
    ):
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            problems.append(Problem(what, where, found=shown, fix=fix))
    return problems


def _weight_of(table: str) -> str:
    """The name of a table's weight in the network's state."""
    return f"{_TABLES}{table_name(table)}.weight"


def _shown(name: str) -> str:
    """The table or task of a weight."""
    short = name.removeprefix(f"{_TABLES}{table_name('')}").removesuffix(".weight")
    return short.removeprefix("items.i_").replace("%2E", ".")
