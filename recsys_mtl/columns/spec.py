"""The properties of the encoded data that the network needs: plain values, no config objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TableSpec:
    """An embedding table: feature name, rows (the unknown row 0 included), width, pooling."""

    name: str
    rows: int
    dim: int
    pooling: Literal["sum", "mean"] = "sum"


@dataclass(frozen=True)
class FeatureSpec:
    """A feature after fitting; a kind may derive a spec of its own with more plain values.

    Attributes:
        name: feature name.
        kind: kind of feature.
        width: columns of numbers that a batch holds of it.
        tables: what it reads embeddings from.
    """

    name: str
    kind: str
    width: int = 0
    tables: tuple[TableSpec, ...] = ()


@dataclass(frozen=True)
class TaskSpec:
    """A task after fitting.

    Attributes:
        name: task name.
        kind: name of its kind, see `recsys_mtl.tasks.kind_of`.
        outputs: width of the tower's output (1, number of classes, or embedding width).
        items: rows of the table of items that it finds (index 0 is "unknown item"); 0: the task
            has no items.
        prior: base rates of the training rows, which the output bias starts from, as the kind of
            task takes them; empty where it takes none.
    """

    name: str
    kind: str
    outputs: int
    items: int = 0
    prior: tuple[float, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """What is encoded: features in the order in which a batch holds them, and tasks."""

    features: tuple[FeatureSpec, ...]
    tasks: tuple[TaskSpec, ...]

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """The embedding tables of all features."""
        return tuple(table for feature in self.features for table in feature.tables)
