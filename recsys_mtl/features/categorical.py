"""Single-valued categorical features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.config.features import CategoricalConfig, FeatureConfig
from recsys_mtl.features.table import TableFeature, coder_of


@dataclass
class CategoricalFeature(TableFeature):
    """One value a row becomes one row of an embedding table."""

    kind: ClassVar[str] = "categorical"

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column."""
        assert isinstance(section, CategoricalConfig)
        return cls(column, section.dim or default_dim, coder_of(section))

    @property
    def table(self) -> TableSpec:
        """The feature's table."""
        return TableSpec(self.column, self.coder.rows, self.dim)

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training values."""
        require_category(values, f"column '{self.column}'")
        self.coder.update(values)

    def encode(self, values: pl.Series, rows: Rows) -> NDArray[np.int64]:
        """(B,) table row of each value.

        Raises:
            UserError: the column holds lists or another type that has no category.
        """
        require_category(values, f"column '{self.column}'")
        return self.coder.codes(values)
