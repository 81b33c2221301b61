"""`Coder`: from a category to a row of an embedding table.

Row 0 of every table is for unknown categories, row 1 for null, the known ones start at row 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.state import FittedState

UNKNOWN_ROW = 0
NULL_ROW = 1
FIRST_ROW = 2


@dataclass
class Coder(FittedState, ABC):
    """Base of the ways to code categories.

    Attributes:
        null_values: canonical texts that mean null.
    """

    null_values: list[str]

    @property
    @abstractmethod
    def rows(self) -> int:
        """Rows of the table, the reserved ones included."""

    @property
    def names(self) -> Sequence[object]:
        """What the rows after the reserved ones mean; empty where they have no names."""
        return ()

    @abstractmethod
    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Learns from a chunk of training values and their rows' weights."""

    @abstractmethod
    def finish(self) -> None:
        """Ends the fit."""

    def warning(self) -> str:
        """What the fit warns of; empty: of nothing."""
        return ""

    def grow(self, other: Coder) -> None:
        """Adds another fit's values that this one lacks, as far as there is room."""

    def same_rows(self, other: Coder) -> NDArray[np.int64]:
        """(rows,) the row of another table with the same value, -1 where it has none.

        Raises:
            ValueError: rows of the two do not mean values of one kind.
        """
        raise ValueError(f"rows of {type(self).__name__} cannot be matched by value")

    @abstractmethod
    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""
