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

_NEW = 0.01  # share of new values from which rare ones are the unknown row's examples


@dataclass
class Vocabulary(Coder):
    """Each training category that is frequent enough has a row of its own.

    Attributes:
        min_count: categories of fewer rows share the unknown row. Weights do not count here: an
            embedding needs rows to learn from, and one row of weight 10 is one example. 0: the fit
            decides, and the number is here afterwards. Categories seen once hold about the share
            of the rows that new ones will hold (Good 1953). If it is at least 1 %, the number is
            2, so that the unknown row is trained as often as it will be read, else 1.
        max_size: number of categories to keep, those of the most weight.
        values: the vocabulary, by falling weight, equal weights by text; the first has row 2.
        counts: rows of each category, after a fit; not stored with a model.
    """

    kind: ClassVar[str] = "vocabulary"
    min_count: int = 1
    max_size: int | None = None
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
        if not self.min_count:
            self.min_count = 2 if self._counts.share_seen_once >= _NEW else 1
        ranked = self._counts.ranked(without=self.null_values, least=self.min_count)
        self.values = list(ranked)[: self.max_size]
        self.counts = self._counts.rows_of(self.values)
        self._counts = None

    def unknown_rates(self, alpha: float) -> NDArray[np.float32]:
        """(rows,) probability that a training batch reads a row as the unknown one, after a fit.

        α / (n + α) of a category with n training rows: word dropout (Iyyer et al. 2015) in the form
        of Kiperwasser & Goldberg 2016, who take 0.25. 0 of unknown and null.
        """
        assert len(self.counts) == len(self.values)
        known = alpha / (np.array(self.counts) + alpha)
        return np.concatenate([np.zeros(FIRST_ROW), known]).astype(np.float32)

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""
        return self._lookup.codes(values)

    def grow(self, other: Coder) -> None:
        """Adds another vocabulary's values behind these, up to `max_size`."""
        if not isinstance(other, Vocabulary):
            return
        known = self.codes(pl.Series(other.values, dtype=pl.String))
        more = [v for v, row in zip(other.values, known, strict=True) if row == UNKNOWN_ROW]
        if self.max_size is not None:
            more = more[: max(0, self.max_size - len(self.values))]
        self.values = [*self.values, *more]
        self.counts = [*self.counts, *[0] * len(more)]
        vars(self).pop("_lookup", None)

    def same_rows(self, other: Coder) -> NDArray[np.int64]:
        """(rows,) the row of the same value, in any spelling, in another vocabulary."""
        if not isinstance(other, Vocabulary):
            return super().same_rows(other)
        rows = other.codes(pl.Series(self.values, dtype=pl.String))
        own = np.where(rows < FIRST_ROW, -1, rows)
        return np.concatenate([np.arange(FIRST_ROW), own])

    @cached_property
    def _lookup(self) -> Lookup:
        table = {text: row for row, text in enumerate(self.values, FIRST_ROW)}
        table |= dict.fromkeys(self.null_values, NULL_ROW)
        return Lookup(table, null=NULL_ROW, unknown=UNKNOWN_ROW)
