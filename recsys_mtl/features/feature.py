"""`Feature`: base of the kinds of features, with all that the rest of the package asks of one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import polars as pl

from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.rows import Rows
from recsys_mtl.config.features import FeatureConfig


@dataclass
class Feature(ColumnEncoder):
    """A fitted feature; its class is the kind.

    A kind names itself by `kind`, in the config and in the stored preprocessor.

    Attributes:
        reads: what the values of a CSV file are read as.
        dtype: what serving understands a raw column as: where it says text, numbers and booleans
            are read as the text that they were in training.
    """

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

    @abstractmethod
    def encode(self, values: pl.Series, rows: Rows) -> Any:
        """What a batch holds of B rows.

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
