"""Rows as NumPy arrays: those that count for a task, and what a model learns from them.

Shapes: N rows, F columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.tasks import Boosting

Array: TypeAlias = NDArray[np.floating]


class Rows(NamedTuple):
    """(N, F) columns, (N,) labels or targets and (N,) positive weights."""

    columns: Array
    labels: Array
    weights: Array


@dataclass(frozen=True)
class Problem:
    """What one model learns.

    Attributes:
        loss: of a regressor, by scikit-learn's name; None is a classifier.
        classes: of a classifier, those that the training rows hold.
        train: rows to learn from; targets of a classifier are positions in `classes`.
        valid: rows that stop the training early, if there are any.
    """

    loss: str | None
    classes: NDArray[np.int64]
    train: Rows
    valid: Rows | None

    @classmethod
    def of(cls, part: Boosting, train: Rows, valid: Rows) -> Self:
        """The problem of a part of a task; validation rows of unseen classes do not count."""
        targets, valid_targets = part.target(train.labels), part.target(valid.labels)
        classes = np.empty(0, np.int64)
        if part.loss is None:
            classes = np.unique(targets).astype(np.int64)
            kept = np.isin(valid_targets, classes)
            valid = Rows(*(array[kept] for array in valid))
            both = targets, valid_targets[kept]
            targets, valid_targets = (np.searchsorted(classes, of).astype(float) for of in both)
        return cls(
            part.loss,
            classes,
            train._replace(labels=targets),
            valid._replace(labels=valid_targets) if len(valid_targets) else None,
        )


def labelled(rows: Batch, column: int, task: str = "") -> tuple[NDArray[np.intp], Array, Array]:
    """Row numbers, labels and weights of the rows that count; `task` is for labels of items."""
    labels, weights = _numpy(rows.targets(column, task)), _numpy(rows.weights)
    (kept,) = np.nonzero(~np.isnan(labels) & (weights > 0))
    return kept, labels[kept].astype(np.float64), weights[kept].astype(np.float64)


def rows_of(rows: Batch, column: int, columns: Array) -> Rows:
    """The rows that count for a task, with their columns."""
    kept, labels, weights = labelled(rows, column)
    return Rows(columns[kept], labels, weights)


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.numpy(force=True)
    return array
