"""Columns that go with the entries of a sequence: ids and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.bins import Bins, NumberBins
from recsys_mtl.columns.few import FewColumns
from recsys_mtl.columns.numbers import NULL_NUMBERS, Floats, Moments, parse_numbers, read_known
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec, TableSpec
from recsys_mtl.columns.transforms import signed_log1p, standardize
from recsys_mtl.config.features import (
    FeatureConfig,
    SequenceIdsConfig,
    SequenceNumbersConfig,
)
from recsys_mtl.errors import wrong
from recsys_mtl.features.block import FeatureBlock, SequenceIds, SequenceNumbers
from recsys_mtl.features.categorical_list import ListFeature
from recsys_mtl.features.feature import Feature, Observed, TreeColumn
from recsys_mtl.features.inputs import InputModule
from recsys_mtl.features.lists import lengths_of, lists_of
from recsys_mtl.features.table import coder_of, dim_of

Newest = Literal["last", "first"]


def kept_newest(lists: pl.Series, max_length: int, newest: Newest) -> pl.Series:
    """The newest entries, the oldest of them first."""
    if newest == "last":
        return lists.list.tail(max_length)
    return lists.list.head(max_length).list.reverse()


def made_up_lengths(feature: FeatureSpec, rows: int, longest: int) -> NDArray[np.int64]:
    """(B,) lengths; the last is the longest, so there are entries, and the first is 0."""
    longest = min(longest, feature.max_length)
    lengths = np.arange(rows) % (longest + 1)
    lengths[-1], lengths[0] = longest, 0
    return lengths


class SequenceIdsBase(ListFeature):
    """Base of the ids of sequences: of the items, and of what goes with them.

    Attributes:
        max_length: longer sequences keep their newest entries.
        newest: where the newest entry is in a raw list.
    """

    block: ClassVar[type[FeatureBlock]] = SequenceIds
    newest: Newest

    @property
    def read_of_table(self) -> TableSpec:
        """Rows that are not pooled."""
        return TableSpec(self.name, self.coder.rows, self.dim, "none", table=self.of_table)

    def kept(self, lists: pl.Series) -> pl.Series:
        """The newest entries."""
        return kept_newest(lists, self.max_length, self.newest)

    def kept_few(self, entries: list[Any]) -> list[Any]:
        """The same of a list."""
        if self.newest == "last":
            return entries[-self.max_length :]
        return entries[: self.max_length][::-1]

    @classmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Sequences of rows of a table, as long as those of their attributes."""
        (table,) = feature.tables
        lengths = made_up_lengths(feature, rows, longest)
        ids = torch.randint(table.rows, (int(lengths.sum()),), generator=generator)
        return ids.numpy(), lengths


class Parallel:
    """Base of what goes with the entries of a sequence, to be mixed into a kind of feature."""

    column: str
    max_length: int
    separator: str | None
    newest: Newest
    sequence: str
    of_column: str

    def follow(self, name: str, sequence: ListFeature, newest: Newest) -> None:
        """Goes with a sequence."""
        self.sequence, self.of_column, self.newest = name, sequence.column, newest
        self.max_length, self.separator = sequence.max_length, sequence.separator

    @property
    def columns(self) -> tuple[str, ...]:
        """Its column and that of the sequence."""
        return (self.column, self.of_column)

    def read(self, frame: pl.DataFrame) -> pl.Series:
        """(B,) lists.

        Raises:
            UserError: one is longer or shorter than that of the sequence.
        """
        own = lengths_of(lists_of(frame[self.column], self.column, self.separator))
        of = lengths_of(lists_of(frame[self.of_column], self.of_column, self.separator))
        apart = np.flatnonzero(own != of)
        if len(apart):
            row = int(apart[0])
            raise wrong(
                "a list of another length",
                where=f"column '{self.column}'",
                expected=f"{of[row]} entries, as in column '{self.of_column}'",
                found=Rows.of(frame).describe(int(own[row]), row),
                fix="make the lists alike, or drop the attribute",
            )
        return frame[self.column]


@dataclass
class SequenceIdsFeature(Parallel, SequenceIdsBase):
    """Ids that go with the entries of a sequence.

    Attributes:
        sequence: name of the sequence.
        of_column: its column.
        max_length, separator, newest: as those of the sequence.
    """

    kind: ClassVar[str] = "sequence_ids"
    max_length: int = 0
    separator: str | None = None
    newest: Newest = "last"
    sequence: str = ""
    of_column: str = ""

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column."""
        assert isinstance(section, SequenceIdsConfig)
        dim = dim_of(section, default_dim)
        return cls(column, dim, coder_of(section), of_table=section.table or "")

    @property
    def spec(self) -> FeatureSpec:
        """A table whose rows are not pooled."""
        return FeatureSpec(
            self.name,
            self.kind,
            tables=(self.read_of_table,),
            parallel_to=self.sequence,
            max_length=self.max_length,
        )

    def encode_few(self, columns: FewColumns) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Of lists that are as long as those of the sequence."""
        own, of = (columns[name].lists(self.separator) for name in self.columns)
        alike = own and of and [*map(len, own)] == [*map(len, of)]
        return super().encode_few(columns) if alike else None

    def companions(
        self,
        section: FeatureConfig,
        sections: Mapping[str, FeatureConfig],
        others: Mapping[str, Feature],
    ) -> list[Feature]:
        """None: the sequence has the length."""
        return []


@dataclass
class SequenceNumbersFeature(Parallel, Feature):
    """Numbers that go with the entries of a sequence; a null one is 0, the mean.

    Attributes:
        transform: standardize, log1p (signed, then standardised) or none.
        sequence, of_column, max_length, separator, newest: see `SequenceIdsFeature`.
        mean, sd: of the training entries, after the logarithm of log1p.
    """

    kind: ClassVar[str] = "sequence_numbers"
    block: ClassVar[type[FeatureBlock]] = SequenceNumbers
    reads: ClassVar[Literal["text", "numbers"]] = "numbers"
    dtype: ClassVar[pl.DataType] = pl.List(pl.Float64())
    transform: str = "log1p"
    max_length: int = 0
    separator: str | None = None
    newest: Newest = "last"
    sequence: str = ""
    of_column: str = ""
    mean: float = 0.0
    sd: float = 0.0
    _moments: Moments = field(default_factory=Moments, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column."""
        assert isinstance(section, SequenceNumbersConfig)
        return cls(column, section.transform)

    @property
    def csv_types(self) -> frozenset[Literal["text", "numbers"]]:
        """Text that holds a list."""
        return frozenset({"text"})

    @property
    def spec(self) -> FeatureSpec:
        """Numbers outside the matrix of numbers."""
        return FeatureSpec(
            self.name, self.kind, parallel_to=self.sequence, max_length=self.max_length
        )

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training values."""
        numbers, lengths = self._flat(values)
        known = ~np.isnan(numbers)
        weights = None if rows.weights is None else np.repeat(rows.weights, lengths)[known]
        self._moments.update(self._scaled(numbers[known]), weights)

    def finish(self) -> None:
        """Ends the fit."""
        self.mean, self.sd = float(self._moments.mean), self._moments.sd
        self._moments = Moments()

    def encode(
        self, values: pl.Series, rows: Rows
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(total length,) numbers of all lists one after another, and (B,) list lengths.

        Raises:
            UserError: the column holds no lists of numbers, or an infinite one.
        """
        numbers, lengths = self._flat(values)
        scaled = self._scaled(numbers)
        if self.transform != "none":
            sd = self.sd if self.sd > np.finfo(np.float64).tiny else np.inf
            scaled = standardize(scaled, self.mean, sd)
        largest = float(np.finfo(np.float32).max)
        return np.clip(np.nan_to_num(scaled), -largest, largest).astype(np.float32), lengths

    @classmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) lists as texts."""
        return SequenceIdsFeature.comparable(values)

    def entries(self, values: pl.Series) -> pl.Series:
        """The numbers of all lists."""
        return pl.Series(self._flat(values)[0])

    def observed(
        self, values: pl.Series, rows: Rows, part: tuple[Tensor, Tensor]
    ) -> dict[Observed, NDArray[Any]]:
        """Raw numbers of all entries, NaN for null."""
        return {"feature": self._flat(values)[0]}

    def compared(self, entries: pl.Series) -> pl.Series:
        """The numbers."""
        return entries

    def bins_of(self, what: str, observed: NDArray[Any]) -> Bins:
        """Quantile bins."""
        return NumberBins.of(observed)

    @classmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule | None:
        """None: the sequence's encoder reads them."""
        return None

    @classmethod
    def tree_columns(cls, feature: FeatureSpec, part: tuple[Tensor, Tensor]) -> list[TreeColumn]:
        """The mean of the entries; 0 of none."""
        numbers, lengths = (tensor.numpy(force=True) for tensor in part)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        sums = np.bincount(rows, numbers, len(lengths))
        return [TreeColumn(sums / np.maximum(lengths, 1))]

    @classmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Normal numbers."""
        lengths = made_up_lengths(feature, rows, longest)
        return torch.randn(int(lengths.sum()), generator=generator).numpy(), lengths

    def _flat(self, values: pl.Series) -> tuple[Floats, NDArray[np.int64]]:
        """(total length,) raw numbers, and (B,) lengths."""
        lists = lists_of(values, self.column, self.separator)
        lists = kept_newest(lists, self.max_length, self.newest)
        flat = lists.explode(empty_as_null=False, keep_nulls=False)
        where = f"column '{self.column}' (values of its lists)"
        if flat.dtype in (pl.String, pl.Null):
            texts = flat.cast(pl.String)
            flat, bad = parse_numbers(texts, NULL_NUMBERS)
            if bad is not None:
                raise wrong(
                    "not a number", where=where, expected="a number", found=f"'{texts[bad]}'",
                    fix="store numbers, and null, NA or NaN where one is missing",
                )  # fmt: skip
        return read_known(flat, [], where=where, rows=Rows(0, len(flat))), lengths_of(lists)

    def _scaled(self, numbers: Floats) -> Floats:
        return signed_log1p(numbers) if self.transform == "log1p" else numbers
