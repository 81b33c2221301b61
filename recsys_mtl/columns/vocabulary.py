"""Categories with a row each, as seen in training, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.categories import Categories
from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW, UNKNOWN_ROW, Coder
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.numbers import Floats


@dataclass
class Vocabulary(Categories):
    """Categories in memory.

    Attributes:
        values: the vocabulary, by falling weight, equal weights by text; the first has row 2.
        counts: rows of each category, after a fit; not stored with a model.
    """

    kind: ClassVar[str] = "vocabulary"
    values: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    _counts: Counts | None = field(default_factory=Counts, init=False, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Rows of the table, the reserved ones included."""
        return FIRST_ROW + len(self.values)

    @property
    def names(self) -> list[str]:
        """The values."""
        return self.values

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Counts a chunk of training values."""
        assert self._counts is not None
        self._counts.update(values, weights)

    def finish(self) -> None:
        """Keeps the frequent categories; once, whatever number of features it serves."""
        if self._counts is None:
            return
        self._decide_min_count(self._counts.share_seen_once)
        ranked = self._counts.ranked(without=self.null_values, least=self.min_count)
        self.values = list(ranked)[: self.max_size]
        self.counts = self._counts.rows_of(self.values)
        self._counts = None

    def texts(self) -> pl.Series:
        """The values."""
        return pl.Series(self.values, dtype=pl.String)

    def row_counts(self) -> NDArray[np.int64]:
        """Of the fit; see `counts`."""
        assert len(self.counts) == len(self.values)
        return np.array(self.counts, np.int64)

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""
        return self._lookup.codes(values)

    def code(self, value: Any) -> int | None:
        """Row of an integer of 64 bits or a known text."""
        return self._lookup.code(value)

    def codes_of_integers(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) row of each."""
        return self._lookup.codes_of_integers(keys)

    def grow(self, other: Coder) -> None:
        """Adds another vocabulary's values behind these, up to `max_size`."""
        if not isinstance(other, Categories):
            return
        texts = other.texts()
        more = texts.filter(pl.Series(self.codes(texts) == UNKNOWN_ROW)).to_list()
        if self.max_size is not None:
            more = more[: max(0, self.max_size - len(self.values))]
        self.values = [*self.values, *more]
        self.counts = [*self.counts, *[0] * len(more)]
        for cached in ("_lookup", "_seen"):
            vars(self).pop(cached, None)

    @cached_property
    def _lookup(self) -> Lookup:
        table = {text: row for row, text in enumerate(self.values, FIRST_ROW)}
        table |= dict.fromkeys(self.null_values, NULL_ROW)
        return Lookup(table, null=NULL_ROW, unknown=UNKNOWN_ROW)
