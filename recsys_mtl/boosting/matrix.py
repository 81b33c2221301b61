"""The columns that trees split, from encoded rows.

Shapes: B rows, F columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.boosting.rows import Array
from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.features.feature import TreeColumn, TreeList
from recsys_mtl.features.registry import KINDS

FREQUENT = 32
"""So many ids of a list have a column of counts each."""


@dataclass(frozen=True)
class TreeMatrix:
    """The columns that the kinds of features bring; a list becomes counts of its frequent ids.

    Attributes:
        spec: of the batches.
        frequent: of each list, the ids of most weight in the training rows, ascending.
        categories: (F,) number of categories of each column; None: not categorical.
    """

    spec: DataSpec
    frequent: Sequence[NDArray[np.int64]]
    categories: Sequence[int | None]

    @classmethod
    def of(cls, spec: DataSpec, train: Batch) -> Self:
        """Columns for training rows."""
        weights = train.weights.numpy(force=True)
        frequent: list[NDArray[np.int64]] = []
        categories: list[int | None] = []
        for column in _columns(spec, train):
            if isinstance(column, TreeList):
                frequent.append(_most_frequent(column, weights))
                categories += [None] * len(frequent[-1])
            else:
                categories.append(column.categories)
        return cls(spec, frequent, categories)

    def __call__(self, rows: Batch) -> Array:
        """(B, F) float32."""
        matrix = np.zeros((rows.num_rows, len(self.categories)), np.float32)
        start, lists = 0, iter(self.frequent)
        for column in _columns(self.spec, rows):
            if isinstance(column, TreeList):
                ids = next(lists)
                _count(column, ids, into=matrix[:, start : start + len(ids)])
                start += len(ids)
            else:
                matrix[:, start] = column.values
                start += 1
        return matrix


def _columns(spec: DataSpec, rows: Batch) -> list[TreeColumn | TreeList]:
    return [
        column
        for feature in spec.features
        for column in KINDS[feature.kind].tree_columns(feature, rows[feature.name])
    ]


def _most_frequent(column: TreeList, weights: NDArray[Any]) -> NDArray[np.int64]:
    mass = np.bincount(column.ids, np.repeat(weights, column.lengths), column.categories)
    heaviest = np.argsort(-mass, kind="stable")[:FREQUENT]
    return np.sort(heaviest[mass[heaviest] > 0])


def _count(column: TreeList, ids: NDArray[np.int64], *, into: Array) -> None:
    """Adds how often each of the ids is in each list."""
    positions = np.full(column.categories, -1)
    positions[ids] = np.arange(len(ids))
    of_entries = positions[column.ids]
    rows = np.repeat(np.arange(len(column.lengths)), column.lengths)
    kept = of_entries >= 0
    np.add.at(into, (rows[kept], of_entries[kept]), 1)
