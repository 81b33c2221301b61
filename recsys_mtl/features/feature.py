"""`Feature`: base of the kinds of features, with all that the rest of the package uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recsys_mtl.columns.bins import Bins
from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.few import FewColumns
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.features.block import FeatureBlock
from recsys_mtl.features.inputs import InputModule

Observed = Literal["feature", "length"]
"""Drift is measured for a feature's values (the entries of its lists) or its lists' lengths."""


class TreeColumn(NamedTuple):
    """A column for trees: (B,) numbers and their number of categories; None: not categorical."""

    values: NDArray[Any]
    categories: int | None = None


class TreeList(NamedTuple):
    """Lists for trees, which count their frequent ids.

    Attributes:
        ids: (total length,) of all lists one after another.
        lengths: (B,) of the lists.
        categories: number of possible ids.
    """

    ids: NDArray[Any]
    lengths: NDArray[Any]
    categories: int


@dataclass
class Feature(ColumnEncoder):
    """A fitted feature; its class is the kind.

    `kind` is its name in the config and in the stored preprocessor. Its encoded rows are its part
    of `block`.

    Attributes:
        name: in the config; the column's where it is not given.
        block: where a batch holds it.
        reads: type of the values of a CSV file.
        derived: whether it is no feature of the config and not described by itself.
        dtype: type of a raw column in serving: for text, numbers and booleans are read as the text
            that they were in training.
    """

    block: ClassVar[type[FeatureBlock]]
    reads: ClassVar[Literal["text", "numbers"]]
    dtype: ClassVar[pl.DataType]
    derived: ClassVar[bool] = False
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        self.name = self.name or self.column

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that `read` needs."""
        return (self.column,)

    def read(self, frame: pl.DataFrame) -> pl.Series:
        """(B,) values of raw rows.

        Raises:
            UserError: columns that do not go together.
        """
        return frame[self.column]

    def companions(
        self,
        section: FeatureConfig,
        sections: Mapping[str, FeatureConfig],
        others: Mapping[str, Feature],
    ) -> list[Feature]:
        """Unfitted features that come with this one.

        Args:
            section: its section.
            sections: of all features and their parts, by name.
            others: all features of a config, by name.
        """
        return []

    @property
    def csv_types(self) -> frozenset[Literal["text", "numbers"]]:
        """The type of the values of a CSV file; both: text with decimal points."""
        return frozenset({self.reads})

    @property
    def raw_dtype(self) -> pl.DataType:
        """The type of the raw column in serving; see `dtype`."""
        return self.dtype

    @classmethod
    @abstractmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column.

        Args:
            column: raw column.
            section: of the kind.
            default_dim: default of the section's embedding width; 0: by cardinality.
        """

    @property
    @abstractmethod
    def spec(self) -> FeatureSpec:
        """The facts that the network needs."""

    def unknown_rates(self, alpha: float) -> NDArray[np.float32] | None:
        """(table rows,) how likely training reads a row as the unknown one; None: never.

        Args:
            alpha: see `Vocabulary.unknown_rates`.
        """
        return None

    @abstractmethod
    def encode(self, values: pl.Series, rows: Rows) -> Any:
        """Its values for `block`, of B rows.

        Raises:
            UserError: the column has a wrong type (also without rows) or an invalid value.
        """

    def encode_few(self, columns: FewColumns) -> Any | None:
        """`encode` of a few rows of Python values; None: their types are left to `encode`.

        It may be wrong about no value: `encode` also finds the mistakes.

        Args:
            columns: all of `columns`.
        """
        del columns
        return None

    @classmethod
    @abstractmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) one value per row for the comparison with a label: ordered numbers, or text.

        The column has not been checked: unreadable values are null.
        """

    @property
    def facts(self) -> dict[str, Any]:
        """What people may ask of the fit, JSON-able."""
        return {}

    def entries(self, values: pl.Series) -> pl.Series:
        """The single values of rows; those of lists one after another."""
        return values

    def compared(self, entries: pl.Series) -> pl.Series:
        """Entries as splits are compared by: numbers, or text that is one for each category.

        What counts as missing is null.
        """
        return self.comparable(entries)

    @abstractmethod
    def observed(self, values: pl.Series, rows: Rows, part: Any) -> dict[Observed, NDArray[Any]]:
        """The values for which drift is measured.

        Args:
            values: raw.
            rows: their position in the source.
            part: the same rows in a batch.
        """

    @abstractmethod
    def bins_of(self, what: str, observed: NDArray[Any]) -> Bins:
        """Bins for `what`, as `observed` of training rows."""

    @classmethod
    @abstractmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule | None:
        """The columns that features of this kind add to the experts' input.

        None if these are only their pooled embeddings.
        """

    @classmethod
    @abstractmethod
    def tree_columns(cls, feature: FeatureSpec, part: Any) -> Sequence[TreeColumn | TreeList]:
        """The columns of a batch's part for trees."""

    @classmethod
    @abstractmethod
    def random_part(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> Any:
        """Random values as `encode` gives them: lists of at most `longest`, the first empty."""
