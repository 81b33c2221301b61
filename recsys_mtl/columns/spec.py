"""The properties of the encoded data that the network needs: plain values, no config objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class TableSpec:
    """What a feature reads of an embedding table.

    Attributes:
        name: of the feature.
        rows: of the table, the unknown row 0 included.
        dim: width.
        pooling: of a list; none: a vector for each entry of a sequence.
        table: name of the table, which several features may read; empty: the feature's.
    """

    name: str
    rows: int
    dim: int
    pooling: Literal["sum", "mean", "none"] = "sum"
    table: str = ""

    @property
    def key(self) -> str:
        """The name of the table."""
        return self.table or self.name


@dataclass(frozen=True)
class FeatureSpec:
    """A feature after fitting; a kind may derive a spec of its own with more plain values.

    Attributes:
        name: feature name.
        kind: kind of feature.
        width: columns of numbers that a batch holds of it.
        tables: what it reads embeddings from.
        parallel_to: the sequence whose entries it goes with; empty: none.
        max_length: entries of a sequence, at most.
    """

    name: str
    kind: str
    width: int = 0
    tables: tuple[TableSpec, ...] = ()
    parallel_to: str = ""
    max_length: int = 0


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
        table: of embeddings whose rows its items are: item k is row k + 1; empty: they have vectors
            of their own.
        frequencies: (items,) training rows of each item, and more; empty: not known.
        through: task that has to happen first: the tower gives the logit given that it has, the
            network that of both; None: no task.
    """

    name: str
    kind: str
    outputs: int
    items: int = 0
    prior: tuple[float, ...] = ()
    through: str | None = None
    table: str = ""
    frequencies: Sequence[int] = field(default=(), compare=False, repr=False)

    @property
    def read(self) -> TableSpec | None:
        """What it reads of a table in training: the item of each row."""
        name = f"@{self.name}"  # no feature's
        return (
            TableSpec(name, 1 + self.items, self.outputs, table=self.table) if self.table else None
        )


@dataclass(frozen=True)
class DataSpec:
    """What is encoded: features in the order in which a batch holds them, and tasks."""

    features: tuple[FeatureSpec, ...]
    tasks: tuple[TaskSpec, ...]

    @property
    def reads(self) -> tuple[TableSpec, ...]:
        """What each feature reads of a table."""
        return tuple(table for feature in self.features for table in feature.tables)

    @property
    def tables(self) -> tuple[TableSpec, ...]:
        """The embedding tables, each as the first feature that reads it."""
        return distinct_tables(self.reads)


def distinct_tables(reads: Sequence[TableSpec]) -> tuple[TableSpec, ...]:
    """The first read of each table, in order."""
    tables: dict[str, TableSpec] = {}
    for read in reads:
        tables.setdefault(read.key, read)
    return tuple(tables.values())
