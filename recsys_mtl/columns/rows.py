"""`Rows`: which rows a column's values belong to, for messages, sampling and weighing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.hashing import splitmix64

ROW = "\0row"
"""Column of a frame that holds row numbers within the source, where the reader has them; a file has
no column of this name."""


@dataclass(frozen=True)
class Rows:
    """A run of rows.

    Attributes:
        first: position of the first row in the stream of rows.
        count: number of rows.
        numbers: row numbers within the source; None where only the position is known.
        weights: (B,) row weights, positive; None where all rows count alike.
    """

    first: int
    count: int
    numbers: pl.Series | None = None
    weights: NDArray[np.float64] | None = None

    @staticmethod
    def of(frame: pl.DataFrame, first: int = 0) -> Rows:
        """The rows of a frame; a `ROW` column holds their numbers within the source."""
        return Rows(first, frame.height, frame[ROW] if ROW in frame.columns else None)

    def describe(self, value: object, index: int) -> str:
        """`'x' in row 12`, rows counted from 0."""
        number = self.first + index if self.numbers is None else self.numbers[index]
        return f"{value!r} in row {number} (counted from 0)"

    def weights_of(self, kept: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """The weights of the rows of a mask (B,)."""
        return None if self.weights is None else self.weights[kept]

    def mass(self, kept: NDArray[np.bool_]) -> float:
        """The weight of the rows of a mask (B,) together; their number without weights."""
        return float(kept.sum() if self.weights is None else self.weights[kept].sum())

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """A different pseudo-random number for each position."""
        return splitmix64(np.arange(self.first, self.first + self.count, dtype=np.uint64))
