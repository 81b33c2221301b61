"""List-valued categorical features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.config.features import CategoricalListConfig, FeatureConfig
from recsys_mtl.errors import wrong
from recsys_mtl.features.table import TableFeature, coder_of


@dataclass
class CategoricalListFeature(TableFeature):
    """A list a row becomes so many rows of an embedding table, which the network pools.

    A null list is an empty one; a null inside a list has the table's null row.

    Attributes:
        pooling: how the embeddings of a list are pooled.
        max_length: longer lists keep their first values.
        separator: splits a text column into lists, empty pieces left out; None takes lists only.
    """

    kind: ClassVar[str] = "categorical_list"
    dtype: ClassVar[pl.DataType] = pl.List(pl.String())
    pooling: Literal["mean", "sum"]
    max_length: int
    separator: str | None = None

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column."""
        assert isinstance(section, CategoricalListConfig)
        return cls(
            column,
            section.dim or default_dim,
            coder_of(section),
            section.pooling,
            section.max_length,
            section.separator,
        )

    @property
    def table(self) -> TableSpec:
        """The feature's table."""
        return TableSpec(self.column, self.coder.rows, self.dim, self.pooling)

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training values."""
        self.coder.update(self._flat(values)[0])

    def encode(self, values: pl.Series, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(total length,) table rows of all lists one after another, and (B,) list lengths.

        Raises:
            UserError: the column holds no lists.
        """
        flat, lengths = self._flat(values)
        return self.coder.codes(flat), lengths

    @classmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) texts of whole lists."""
        if isinstance(values.dtype, pl.List | pl.Array):
            values = values.cast(pl.List(pl.String)).list.join("\x1f")
        return super().comparable(values)

    def _flat(self, values: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
        """All values one after another, and the length of each list."""
        lists = self._lists(values).list.head(self.max_length)
        flat = lists.explode(empty_as_null=False, keep_nulls=False)
        require_category(flat, f"column '{self.column}' (values of its lists)")
        return flat, lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()

    def _lists(self, values: pl.Series) -> pl.Series:
        dtype = values.dtype
        if isinstance(dtype, pl.List):
            return values
        if isinstance(dtype, pl.Array):
            return values.arr.to_list()
        if dtype == pl.Null:
            return values.cast(pl.List(pl.String))
        if dtype in (pl.String, pl.Categorical, pl.Enum) and self.separator is not None:
            pieces = values.cast(pl.String).str.split(self.separator)
            return pieces.list.eval(pl.element().filter(pl.element() != ""))
        raise wrong(
            "no lists",
            where=f"column '{self.column}'",
            expected="lists" if self.separator is None else f"lists, or text with {self.separator}",
            found=dtype,
            fix="make it kind: categorical, or name the `separator` of its text",
        )
