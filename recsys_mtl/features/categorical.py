"""Single-valued categorical features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.coder import Coder
from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TableSpec


@dataclass
class CategoricalFeature(ColumnEncoder):
    """One value a row becomes one row of an embedding table.

    Attributes:
        dim: embedding width.
        coder: from category to table row.
    """

    kind: ClassVar[str] = "categorical"
    dim: int
    coder: Coder

    @property
    def table(self) -> TableSpec:
        """The feature's table."""
        return TableSpec(self.column, self.coder.rows, self.dim)

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training values."""
        require_category(values, f"column '{self.column}'")
        self.coder.update(values)

    def finish(self) -> None:
        """Ends the fit."""
        self.coder.finish()

    def encode(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) table row of each value.

        Raises:
            UserError: the column holds lists or another type that has no category.
        """
        require_category(values, f"column '{self.column}'")
        return self.coder.codes(values)
