"""`Label`: base of the label encoders, which are fitted on the training rows.

Shapes: B rows, o outputs of the task's tower, R rows of a complete set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.coder import Coder
from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.lookup import Lookup
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.metrics.weighing import Array

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = -1
OUTSIDE = -2

Labels = NDArray[np.floating]


class Table(Protocol):
    """An embedding table: from category to row, and its width."""

    coder: Coder
    dim: int


@dataclass
class Label(ColumnEncoder, ABC):
    """Turns a label column into targets, and the network's outputs back into columns.

    Attributes:
        task: task name.
        null_values: canonical texts that mean unlabelled, as null and NaN do.
        has_items: whether targets are indices of items.
    """

    has_items: ClassVar[bool] = False

    task: str
    null_values: list[str] = field(kw_only=True, default_factory=list)

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """The facts that the network needs."""

    @abstractmethod
    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) targets, NaN where unlabelled: float32, or float64 for indices of items.

        Raises:
            UserError: this kind of label cannot take a value.
        """

    @property
    def catalogue(self) -> list[str]:
        """The items in the order of their indices, from 1."""
        raise NotImplementedError(f"{self.kind} has no items")

    def link(self, tables: Mapping[str, Table]) -> None:
        """Connects it with the tables of the features, by name: it may share one."""

    def columns(self, outputs: Floats) -> dict[str, Array]:
        """The columns of predictions, from (B, o) outputs; the first has the task's name."""
        raise NotImplementedError(f"{self.kind} names items")

    def decode(self, outputs: Floats, *, top_k: int) -> pl.DataFrame:
        """The same as a frame.

        Args:
            outputs: (B, o) outputs of the tower; (B, items) scores, item 0 (unknown) included,
                for a task with items.
            top_k: items to name per row.
        """
        del top_k
        return pl.DataFrame(self.columns(outputs))

    def frame(self, outputs: Tensor, items: Callable[[], Tensor], *, top_k: int) -> pl.DataFrame:
        """`decode` of the network's outputs.

        Args:
            outputs: (B, o).
            items: gives the (items, o) unit vectors of the items, for a task with items.
            top_k: items to name per row.
        """
        del items
        return self.decode(np.asarray(outputs.cpu().numpy(), np.float64), top_k=top_k)

    @property
    def parent(self) -> str | None:
        """The task that has to happen first: its outputs follow this task's own in `decode`."""
        return None

    def alone(self, labels: Mapping[str, Label]) -> Label:
        """The label of the same targets without the task before, out of the labels of all tasks."""
        del labels
        return self

    def kept(self, parent: Self, *, grow: bool) -> Self:
        """This label with what an earlier model's was fitted on: its outputs mean the same.

        Args:
            parent: of the earlier model.
            grow: whether items that only it has stay.

        Raises:
            UserError: they cannot.
        """
        if set(self.categories) - set(parent.categories):
            raise wrong(
                "classes that the parent does not have",
                where=self.where,
                expected=", ".join(parent.categories),
                found=", ".join(self.categories),
                fix=f"name all classes in tasks.{self.task}.classes from the first model on",
            )
        return replace(parent, column=self.column)

    def same_items(self, other: Label) -> NDArray[np.int64]:
        """(items,) the index of the same item in another catalogue, -1 where it has none."""
        raise NotImplementedError(f"{self.kind} has no items")

    def schema(self) -> dict[str, pl.DataType]:
        """Columns of predictions and their types."""
        spec = self.spec
        zeros = np.zeros((1, spec.items or spec.outputs + (self.parent is not None)))
        return dict(self.decode(zeros, top_k=1).schema)

    def to_unit(self, values: Array) -> Array:
        """Targets or predictions in the label's own unit."""
        return values

    def base_rate(self, constant: Array) -> dict[str, float]:
        """The numbers of `Kind.constant`, by name."""
        return {"mean": float(constant)}

    @property
    def events(self) -> tuple[str, ...]:
        """The canonical texts that count as 1, if the config names any."""
        return ()

    @property
    def categories(self) -> tuple[str, ...]:
        """The possible values of the first column of predictions, if they are classes."""
        return ()

    def tracked(self, predictions: pl.DataFrame) -> pl.Series:
        """The value of each prediction whose drift is monitored."""
        return predictions[self.task]

    def reads_same(self, other: Self, ours: Array, theirs: Array) -> bool:
        """Whether labels (R,) of the same rows mean the same to two models; none is NaN."""
        del other
        return bool(np.array_equal(ours, theirs))

    def remark(self, champion: Self) -> str:
        """A remark for the comparison of two models of the task; empty without one."""
        del champion
        return ""

    @property
    def where(self) -> str:
        """Location of the label in messages."""
        return f"tasks.{self.task}: label column '{self.column}'"

    def lookup(self, table: dict[str, int], *, unknown: int = OUTSIDE) -> Lookup:
        """Codes of `table`, and this label's codes for unlabelled and unknown values."""
        table = table | dict.fromkeys(self.null_values, UNLABELLED)
        return Lookup(table, null=UNLABELLED, unknown=unknown)

    def codes(self, values: pl.Series, lookup: Lookup) -> NDArray[np.int64]:
        """(B,) codes of the labels.

        Raises:
            UserError: the column's type cannot be categorical.
        """
        require_category(values, self.where)
        return lookup.codes(values)

    def outside(self, values: pl.Series, codes: NDArray[np.int64], rows: Rows) -> str | None:
        """Value and row of the first label outside the table, or None."""
        beyond = codes == OUTSIDE
        first = int(beyond.argmax()) if beyond.any() else None
        return None if first is None else rows.describe(values[first], first)

    def no_labels(self) -> UserError:
        """The error of a label that is never set."""
        return wrong(
            "no label in the training rows",
            where=self.where,
            expected="labelled rows",
            found="only null (or rows outside only_where)",
            fix="remove the task, or check the label, only_where and the split",
        )

    def one_class(self, value: str) -> UserError:
        """The error of a label that is always the same."""
        return wrong(
            "the label has only one class in the training rows",
            where=self.where,
            expected="two classes or more",
            found=f"only '{value}'",
            fix="remove the task, or check the label and the split",
        )


def targets(codes: NDArray[np.int64]) -> Labels:
    """Codes as float32, NaN where they are negative."""
    return np.where(codes < 0, np.float32(np.nan), codes.astype(np.float32))
