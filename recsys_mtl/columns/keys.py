"""Columns that evaluation groups rows by; the network never reads them.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical, require_category
from recsys_mtl.columns.column import ColumnEncoder
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.rows import Rows

NO_GROUP = -1
MOST_SEGMENTS = 50
OTHER, MISSING = "(other)", "(missing)"


@dataclass
class GroupKey(ColumnEncoder):
    """The list that a row belongs to, such as its user.

    Its number is a 63-bit hash of the value's text, the same in every process: integers stay exact,
    and two of a million values share a number with a chance of 1 in 10 million.
    """

    kind: ClassVar[str] = "group_key"

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Nothing to learn."""
        require_category(values, self._where)

    def finish(self) -> None:
        """Nothing to end."""

    def encode(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) the number of each value; `NO_GROUP` of null."""
        require_category(values, self._where)
        texts = canonical(values)
        numbers = (texts.hash() // 2).cast(pl.Int64)
        return numbers.set(texts.is_null(), NO_GROUP).to_numpy()

    @property
    def _where(self) -> str:
        return f"evaluation.groups: column '{self.column}'"


@dataclass
class SegmentKey(ColumnEncoder):
    """The segment that a row belongs to: a frequent value of the training rows.

    Attributes:
        values: by falling weight, at most `MOST_SEGMENTS`; all others are one segment.
    """

    kind: ClassVar[str] = "segment_key"
    values: list[str] = field(default_factory=list)
    _counts: Counts = field(default_factory=Counts, init=False, repr=False, compare=False)

    @property
    def names(self) -> list[str]:
        """The name of each number."""
        return [*self.values, OTHER, MISSING]

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Counts a chunk of training values."""
        require_category(values, self._where)
        self._counts.update(values, rows.weights)

    def finish(self) -> None:
        """Keeps the frequent values."""
        self.values = list(self._counts.ranked(without=()))[:MOST_SEGMENTS]
        self._counts = Counts()

    def encode(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) index of each value in `names`."""
        require_category(values, self._where)
        return self._lookup.codes(values)

    @cached_property
    def _lookup(self) -> Lookup:
        table = {text: index for index, text in enumerate(self.values)}
        return Lookup(table, unknown=len(table), null=len(table) + 1)

    @property
    def _where(self) -> str:
        return f"evaluation.segments: column '{self.column}'"


Key = GroupKey | SegmentKey


def key_from_dict(stored: dict[str, Any]) -> Key:
    """The key that `to_dict` stored."""
    of: type[Key] = GroupKey if stored["kind"] == GroupKey.kind else SegmentKey
    return of.from_dict(stored)


def keys_of(groups: str | None, segments: Iterable[str]) -> tuple[Key, ...]:
    """The unfitted keys of a config's `evaluation`."""
    first = () if groups is None else (GroupKey(groups),)
    return (*first, *map(SegmentKey, segments))
