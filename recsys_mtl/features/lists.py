"""Raw columns of lists, and the length of each list as an input of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from recsys_mtl.columns.few import FewColumns
from recsys_mtl.columns.numbers import Floats, Moments
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.transforms import standardize
from recsys_mtl.config.features import FeatureConfig, ListConfigBase
from recsys_mtl.config.lists import length_of
from recsys_mtl.errors import wrong
from recsys_mtl.features.dense import DenseFeature
from recsys_mtl.features.feature import Feature, Observed, TreeColumn


def lists_of(values: pl.Series, column: str, separator: str | None) -> pl.Series:
    """(B,) lists of a raw column, null where a row has none.

    Args:
        values: lists; text with a separator.
        column: for messages.
        separator: splits text into lists without empty pieces; None takes lists only.

    Raises:
        UserError: the column holds no lists.
    """
    dtype = values.dtype
    if isinstance(dtype, pl.List):
        return values
    if isinstance(dtype, pl.Array):
        return values.arr.to_list()
    if dtype == pl.Null:
        return values.cast(pl.List(pl.String))
    if dtype in (pl.String, pl.Categorical, pl.Enum) and separator is not None:
        pieces = values.cast(pl.String).str.split(separator)
        return pieces.list.eval(pl.element().filter(pl.element() != ""))
    raise wrong(
        "no lists",
        where=f"column '{column}'",
        expected="lists" if separator is None else f"lists, or text with {separator}",
        found=dtype,
        fix="make it kind: categorical, or name the `separator` of its text",
    )


def lengths_of(lists: pl.Series) -> NDArray[np.int64]:
    """(B,) entries of each list; a null list has none."""
    return lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()


@dataclass(frozen=True)
class ListLengthSpec(FeatureSpec):
    """A list's length after fitting.

    Attributes:
        lengths: columns before that of the share.
    """

    lengths: int = 1


@dataclass
class ListLengthFeature(DenseFeature):
    """How long the lists of a column are, in full, and what share of other lists that is.

    A pooled list has lost its length. Both are standardised: log1p of the length, then the length
    over that of the parent list, 0 where that one is empty.

    Attributes:
        separator: of the lists' text.
        length: whether the length is an input.
        parent: column of the other lists; empty: no share.
        parent_separator: of their text.
        means, sds: of the training rows.
    """

    kind: ClassVar[str] = "list_length"
    reads: ClassVar[Literal["text", "numbers"]] = "text"
    dtype: ClassVar[pl.DataType] = pl.List(pl.String())
    derived: ClassVar[bool] = True
    separator: str | None = None
    length: bool = True
    parent: str = ""
    parent_separator: str | None = None
    means: list[float] = field(default_factory=list)
    sds: list[float] = field(default_factory=list)
    _moments: list[Moments] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, column: str, section: FeatureConfig, *, default_dim: int) -> Self:
        """Of the lists of a column."""
        return cls(column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of the lists, and of their parents."""
        return (self.column, self.parent) if self.parent else (self.column,)

    @property
    def csv_types(self) -> frozenset[Literal["text", "numbers"]]:
        """Those of the features whose lists it counts."""
        return frozenset()

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return self.length + bool(self.parent)

    @property
    def spec(self) -> ListLengthSpec:
        """Columns of numbers."""
        return ListLengthSpec(self.name, self.kind, self.width, lengths=int(self.length))

    def read(self, frame: pl.DataFrame) -> pl.Series:
        """(B,) structs of the lengths of a row's list and of its parent list."""
        own = lengths_of(lists_of(frame[self.column], self.column, self.separator))
        parent = own
        if self.parent:
            lists = lists_of(frame[self.parent], self.parent, self.parent_separator)
            parent = lengths_of(lists)
        return pl.DataFrame({"length": own, "parent": parent}).to_struct(self.name)

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Learns from a chunk of training rows."""
        self._moments = self._moments or [Moments() for _ in range(self.width)]
        own, parent = (values.struct.field(f).to_numpy() for f in ("length", "parent"))
        for moments, numbers in zip(self._moments, self._numbers(own, parent), strict=True):
            moments.update(numbers, rows.weights)

    def finish(self) -> None:
        """Ends the fit."""
        moments = self._moments or [Moments() for _ in range(self.width)]
        self.means, self.sds = [float(m.mean) for m in moments], [m.sd for m in moments]
        self._moments = []

    def encode(self, values: pl.Series, rows: Rows) -> NDArray[np.float32]:
        """(B, width) float32; zeros of what was constant in training."""
        own, parent = (values.struct.field(f).to_numpy() for f in ("length", "parent"))
        return self._encoded(own, parent)

    def encode_few(self, columns: FewColumns) -> NDArray[np.float32] | None:
        """(B, width) float32."""
        own = parent = columns[self.column].lists(self.separator)
        if self.parent:
            parent = columns[self.parent].lists(self.parent_separator)
        if own is None or parent is None:
            return None
        return self._encoded(*(np.array([*map(len, lists)], np.int64) for lists in (own, parent)))

    def _encoded(self, own: NDArray[np.int64], parent: NDArray[np.int64]) -> NDArray[np.float32]:
        encoded = np.zeros((len(own), self.width), np.float32)
        for index, numbers in enumerate(self._numbers(own, parent)):
            if self.sds[index] > np.finfo(np.float64).tiny:
                encoded[:, index] = standardize(numbers, self.means[index], self.sds[index])
        return encoded

    @classmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) lengths."""
        return values.struct.field("length").cast(pl.Float64)

    def observed(self, values: pl.Series, rows: Rows, part: Tensor) -> dict[Observed, NDArray[Any]]:
        """Nothing: drift of the length is measured of the lists."""
        return {}

    @classmethod
    def tree_columns(cls, feature: FeatureSpec, part: Tensor) -> list[TreeColumn]:
        """The share; trees have the length from the lists."""
        assert isinstance(feature, ListLengthSpec)
        return super().tree_columns(feature, part)[feature.lengths :]

    def _numbers(self, own: NDArray[np.int64], parent: NDArray[np.int64]) -> list[Floats]:
        """The (B,) columns before they are standardised, of the lengths of lists and parents."""
        numbers = [np.log1p(own)] if self.length else []
        return [*numbers, own / np.maximum(parent, 1)] if self.parent else numbers


def lengths_with(
    lists: Feature, section: ListConfigBase, others: Mapping[str, Feature]
) -> list[Feature]:
    """The feature of the lengths of another feature's lists, where its section asks for it.

    Args:
        lists: that feature.
        section: its section.
        others: all features of the config, by name.
    """
    if not section.length and section.share_of is None:
        return []
    made = ListLengthFeature(
        lists.column,
        separator=section.separator,
        length=section.length,
        name=length_of(lists.name),
    )
    parent = others.get(section.share_of or "")
    if parent is not None:
        made.parent = parent.column
        made.parent_separator = getattr(parent, "separator", None)
    return [made]
