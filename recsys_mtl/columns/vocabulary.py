"""Categories with a row each, as seen in training."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW, UNKNOWN_ROW, Coder
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.numbers import Floats


@dataclass
class Vocabulary(Coder):
    """Each training category that is frequent enough has a row of its own.

    Attributes:
        min_count: categories of fewer rows share the unknown row. Weights do not count here: an
            embedding needs rows to learn from, and one row of weight 10 is one example.
        max_size: number of categories to keep, those of the most weight.
        values: the vocabulary, by falling weight, equal weights by text; the first has row 2.
    """

    kind: ClassVar[str] = "vocabulary"
    min_count: int = 1
    max_size: int | None = None
    values: list[str] = field(default_factory=list)
    _counts: Counts = field(default_factory=Counts, init=False, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Rows of the table, the reserved ones included."""
        return FIRST_ROW + len(self.values)

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Counts a chunk of training values."""
        self._counts.update(values, weights)

    def finish(self) -> None:
        """Keeps the frequent categories."""
        ranked = self._counts.ranked(without=self.null_values, least=self.min_count)
        self.values = list(ranked)[: self.max_size]
        self._counts = Counts()

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""
        return self._lookup.codes(values)

    @cached_property
    def _lookup(self) -> Lookup:
        table = {text: row for row, text in enumerate(self.values, FIRST_ROW)}
        table |= dict.fromkeys(self.null_values, NULL_ROW)
        return Lookup(table, null=NULL_ROW, unknown=UNKNOWN_ROW)
