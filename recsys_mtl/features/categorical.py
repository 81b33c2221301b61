"""Single-valued categorical features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.few import FewColumns
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec, TableSpec
from recsys_mtl.config.features import CategoricalConfig, FeatureConfig
from recsys_mtl.features.block import FeatureBlock, Ids
from recsys_mtl.features.feature import Observed, TreeColumn
from recsys_mtl.features.table import TableFeature, coder_of, dim_of


@dataclass
class CategoricalFeature(TableFeature):
    """One value a row becomes one row of an embedding table."""

    kind: ClassVar[str] = "categorical"
    block: ClassVar[type[FeatureBlock]] = Ids

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column."""
        assert isinstance(section, CategoricalConfig)
        dim = dim_of(section, default_dim)
        return cls(column, dim, coder_of(section), of_table=section.table or "")

    @property
    def spec(self) -> FeatureSpec:
        """A table."""
        table = TableSpec(self.name, self.coder.rows, self.dim, table=self.of_table)
        return FeatureSpec(self.name, self.kind, tables=(table,))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training values."""
        require_category(values, f"column '{self.column}'")
        self.coder.update(values, rows.weights)

    def encode(self, values: pl.Series, rows: Rows) -> NDArray[np.int64]:
        """(B,) table row of each value.

        Raises:
            UserError: the column holds lists or another type that cannot be categorical.
        """
        require_category(values, f"column '{self.column}'")
        return self.coder.codes(values)

    def encode_few(self, columns: FewColumns) -> NDArray[np.int64] | None:
        """(B,) table row of each value."""
        column = columns[self.column]
        if column.alike and column.types == {int} and None not in column.values:
            return self.coder.codes_of_integers(np.array(column.values, np.int64))
        return np.array(self.coder.codes_of_few(column.values)) if column.alike else None

    def observed(self, values: pl.Series, rows: Rows, part: Tensor) -> dict[Observed, NDArray[Any]]:
        """(B,) table rows."""
        return {"feature": part.numpy()}

    @classmethod
    def tree_columns(cls, feature: FeatureSpec, part: Tensor) -> list[TreeColumn]:
        """The table row."""
        (table,) = feature.tables
        return [TreeColumn(part.numpy(force=True), table.rows)]

    @classmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> NDArray[Any]:
        """(B,) rows of the table."""
        (table,) = feature.tables
        return torch.randint(table.rows, (rows,), generator=generator).numpy()
