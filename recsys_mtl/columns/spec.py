"""What the network needs to know of the encoded data: plain values, no config objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["binary", "multiclass", "regression", "retrieval"]


@dataclass(frozen=True)
class TableSpec:
    """An embedding table: feature name, rows (the unknown row 0 included), width, pooling."""

    name: str
    rows: int
    dim: int
    pooling: Literal["sum", "mean"] = "sum"


@dataclass(frozen=True)
class TaskSpec:
    """A task after fitting.

    Attributes:
        name: task name.
        kind: kind of label.
        outputs: width of the tower's output (1, number of classes, or embedding width).
        items: number of items of a retrieval task (index 0 is "unknown item"), else 0.
        prior: base rates the output bias starts from: one probability for binary, one per class
            for multiclass, the mean of the transformed target for regression, empty for retrieval.
    """

    name: str
    kind: TaskKind
    outputs: int
    items: int = 0
    prior: tuple[float, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """The encoded columns in the order of `Batch`: tables of `ids`, of `list_ids`, tasks."""

    tables: tuple[TableSpec, ...]
    list_tables: tuple[TableSpec, ...]
    numeric_width: int
    tasks: tuple[TaskSpec, ...]
