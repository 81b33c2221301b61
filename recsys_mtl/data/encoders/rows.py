"""`Rows`: which rows a column's values belong to, for messages and for sampling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROW = "__row__"
"""Column of a frame that holds row numbers within the source, where the reader knows them."""


@dataclass(frozen=True)
class Rows:
    """A run of rows.

    Attributes:
        first: position of the first row in the stream of rows.
        count: number of rows.
        numbers: row numbers within the source; None where only the position is known.
    """

    first: int
    count: int
    numbers: pl.Series | None = None

    @staticmethod
    def of(frame: pl.DataFrame, first: int = 0) -> Rows:
        """The rows of a frame; a `__row__` column holds their numbers within the source."""
        return Rows(first, frame.height, frame[ROW] if ROW in frame.columns else None)

    def found(self, value: object, index: int) -> str:
        """`'x' in row 12`, rows counted from 0."""
        number = self.first + index if self.numbers is None else self.numbers[index]
        return f"{value!r} in row {number} (counted from 0)"

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """A different pseudo-random number for each position (splitmix64)."""
        z = np.arange(self.first, self.first + self.count, dtype=np.uint64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
