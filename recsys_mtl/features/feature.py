"""`Feature`: base of the kinds of features, with all that the rest of the package asks of one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import polars as pl
import torch
from numpy.typing import NDArray

from recsys_mtl.columns.bins import Bins
from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.features.block import FeatureBlock
from recsys_mtl.features.inputs import InputModule

Observed = Literal["feature", "length"]
"""What drift is measured of: a feature's values (the entries of its lists), or lengths of lists."""


class TreeColumn(NamedTuple):
    """A column as trees take it: (B,) numbers, and how many categories they code, None: none."""

    values: NDArray[Any]
    categories: int | None = None


@dataclass
class Feature(ColumnEncoder):
    """A fitted feature; its class is the kind.

    A kind names itself by `kind`, in the config and in the stored preprocessor. What its rows are
    in a batch is its part of `block`.

    Attributes:
        block: where a batch holds it.
        reads: what the values of a CSV file are read as.
        dtype: what serving understands a raw column as: where it says text, numbers and booleans
            are read as the text that they were in training.
    """

    block: ClassVar[type[FeatureBlock]]
    reads: ClassVar[Literal["text", "numbers"]]
    dtype: ClassVar[pl.DataType]

    @classmethod
    @abstractmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """The unfitted feature of a column.

        Args:
            column: raw column.
            section: of the kind.
            default_dim: embedding width where the section names none.
        """

    @property
    @abstractmethod
    def spec(self) -> FeatureSpec:
        """What the network needs to know."""

    @abstractmethod
    def encode(self, values: pl.Series, rows: Rows) -> Any:
        """What its block is made of, for B rows.

        Raises:
            UserError: the column has a wrong type or holds a value it may not hold; by its type it
                is refused without rows too.
        """

    @classmethod
    @abstractmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) one value a row that a label can be compared with: numbers with an order, or text.

        The column has not been checked: what cannot be read is null.
        """

    @abstractmethod
    def observed(self, values: pl.Series, rows: Rows, part: Any) -> dict[Observed, NDArray[Any]]:
        """What drift is measured of.

        Args:
            values: raw.
            rows: which they are.
            part: the same rows in a batch.
        """

    @abstractmethod
    def bins_of(self, what: str, observed: NDArray[Any]) -> Bins:
        """Bins for `what`, as `observed` of training rows."""

    @classmethod
    @abstractmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule | None:
        """The columns that features of this kind bring to the experts' input.

        None where these are their pooled embeddings and nothing else.
        """

    @classmethod
    @abstractmethod
    def tree_columns(cls, feature: FeatureSpec, part: Any) -> list[TreeColumn]:
        """The columns that trees learn from instead of a batch's part."""

    @classmethod
    @abstractmethod
    def made_up(
        cls, feature: FeatureSpec, rows: int, longest: int, generator: torch.Generator
    ) -> Any:
        """What `encode` might give, at random: lists of at most `longest`, the first empty."""
