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
    """What is encoded: features in the order in which a batch holds them, and tasks."""

    features: tuple[FeatureSpec, ...]
    tasks: tuple[TaskSpec, ...]

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """The embedding tables of all features."""
        return tuple(table for feature in self.features for table in feature.tables)
