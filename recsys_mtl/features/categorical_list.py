"""List-valued categorical features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.bins import Bins, NumberBins
from recsys_mtl.columns.canonical import require_category
from recsys_mtl.columns.few import FewColumns, flat
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec, TableSpec
from recsys_mtl.config.features import CategoricalListConfig, FeatureConfig, ListConfigBase
from recsys_mtl.features.block import FeatureBlock, Lists
from recsys_mtl.features.feature import Feature, Observed, TreeColumn, TreeList
from recsys_mtl.features.lists import lengths_of, lengths_with, lists_of
from recsys_mtl.features.table import TableFeature, coder_of, dim_of


class ListFeature(TableFeature):
    """Base of the kinds whose values are lists of categories.

    A null list counts as empty; a null inside a list has the table's null row.

    Attributes:
        max_length: longer lists are cut.
        separator: splits a text column into lists without empty pieces; None takes lists only.
    """

    block: ClassVar[type[FeatureBlock]] = Lists
    dtype: ClassVar[pl.DataType] = pl.List(pl.String())
    max_length: int
    separator: str | None

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training values."""
        flat, lengths = self._flat(values)
        weights = None if rows.weights is None else np.repeat(rows.weights, lengths)
        self.coder.update(flat, weights)

    def entries(self, values: pl.Series) -> pl.Series:
        """The values of all lists."""
        return self._flat(values)[0]

    def encode(self, values: pl.Series, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(total length,) table rows of all lists one after another, and (B,) list lengths.

        Raises:
            UserError: the column holds no lists.
        """
        flat, lengths = self._flat(values)
        return self.coder.codes(flat), lengths

    def encode_few(self, columns: FewColumns) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """(total length,) table rows of all lists one after another, and (B,) list lengths."""
        lists = columns[self.column].lists(self.separator)
        if lists is None:
            return None
        kept = [self.kept_few(entries) for entries in lists]
        codes = self.coder.codes_of_few(flat(kept).values)
        return np.array(codes, np.int64), np.array([*map(len, kept)], np.int64)

    @classmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) lists as texts."""
        if isinstance(values.dtype, pl.List | pl.Array):
            values = values.cast(pl.List(pl.String)).list.join("\x1f")
        return super().comparable(values)

    def observed(
        self, values: pl.Series, rows: Rows, part: tuple[Tensor, Tensor]
    ) -> dict[Observed, NDArray[Any]]:
        """Table rows of all entries, and the lists' lengths."""
        ids, lengths = part
        return {"feature": ids.numpy(), "length": lengths.numpy()}

    def bins_of(self, what: str, observed: NDArray[Any]) -> Bins:
        """Bins of the entries, or of the lengths."""
        return NumberBins.of(observed) if what == "length" else super().bins_of(what, observed)

    @classmethod
    def tree_columns(
        cls, feature: FeatureSpec, part: tuple[Tensor, Tensor]
    ) -> list[TreeColumn | TreeList]:
        """The list's length, and its entries to be counted."""
        ids, lengths = (tensor.numpy(force=True) for tensor in part)
        (table,) = feature.tables
        return [TreeColumn(lengths), TreeList(ids, lengths, table.rows)]

    @classmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lists of rows of the table; the last has the greatest length, so there are entries."""
        (table,) = feature.tables
        lengths = torch.randint(longest + 1, (rows,), generator=generator)
        lengths[-1], lengths[0] = longest, 0
        ids = torch.randint(table.rows, (int(lengths.sum()),), generator=generator)
        return ids.numpy(), lengths.numpy()

    def companions(
        self,
        section: FeatureConfig,
        sections: Mapping[str, FeatureConfig],
        others: Mapping[str, Feature],
    ) -> list[Feature]:
        """Its length."""
        assert isinstance(section, ListConfigBase)
        return lengths_with(self, section, others)

    def kept(self, lists: pl.Series) -> pl.Series:
        """The entries of longer lists that are kept."""
        return lists.list.head(self.max_length)

    def kept_few(self, entries: list[Any]) -> list[Any]:
        """The same of a list."""
        return entries[: self.max_length]

    def _flat(self, values: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
        """All values one after another, and the length of each list."""
        lists = self.kept(lists_of(values, self.column, self.separator))
        flat = lists.explode(empty_as_null=False, keep_nulls=False)
        require_category(flat, f"column '{self.column}' (values of its lists)")
        return flat, lengths_of(lists)


@dataclass
class CategoricalListFeature(ListFeature):
    """A list becomes rows of an embedding table, which the network pools.

    Attributes:
        pooling: how the embeddings of a list are pooled.
        max_length: longer lists keep their first values.
    """

    kind: ClassVar[str] = "categorical_list"
    pooling: Literal["mean", "sum"]
    max_length: int
    separator: str | None = None

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column."""
        assert isinstance(section, CategoricalListConfig)
        return cls(
            column,
            dim_of(section, default_dim),
            coder_of(section),
            section.pooling,
            section.max_length,
            section.separator,
            of_table=section.table or "",
        )

    @property
    def spec(self) -> FeatureSpec:
        """A table whose rows are pooled."""
        table = TableSpec(self.name, self.coder.rows, self.dim, self.pooling, table=self.of_table)
        return FeatureSpec(self.name, self.kind, tables=(table,))
