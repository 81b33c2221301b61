"""Categories that share a fixed number of rows by their hash (Weinberger et al. 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical, factorize
from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW, Coder
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.spelling import one_spelling


@dataclass
class HashBuckets(Coder):
    """Each category has the row of its hash; nothing is fitted and none is unknown.

    The hash (pandas' keyed SipHash of the canonical text) is the same in every process and version.

    Attributes:
        buckets: how many there are.
        one_spelling: whether all spellings of a number or moment have one hash; they had not in
            earlier versions, whose models stay as they are.
    """

    kind: ClassVar[str] = "hash"
    buckets: int = 1
    one_spelling: bool = False

    @property
    def rows(self) -> int:
        """Rows of the table, the reserved ones included."""
        return FIRST_ROW + self.buckets

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Nothing to learn."""

    def finish(self) -> None:
        """Nothing to end."""

    def grow(self, other: Coder) -> None:
        """Hashes as the other did."""
        if isinstance(other, HashBuckets):
            self.one_spelling = other.one_spelling
            vars(self).pop("_seen", None)

    def same_rows(self, other: Coder) -> NDArray[np.int64]:
        """(rows,) the same rows, of as many buckets."""
        if not isinstance(other, HashBuckets) or other.buckets != self.buckets:
            raise ValueError(f"{self.buckets} buckets")
        return np.arange(self.rows)

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""
        indices, distinct = factorize(values)
        texts = canonical(distinct)
        named = texts.is_in(self.null_values)
        texts = one_spelling(texts) if self.one_spelling else texts
        null = (named | texts.is_null() | texts.is_in(self.null_values)).fill_null(True).to_numpy()
        objects = np.array(texts.fill_null("").to_list(), dtype=object)
        hashes = pd.util.hash_array(objects, categorize=False) % np.uint64(self.buckets)
        return np.where(null, NULL_ROW, hashes.astype(np.int64) + FIRST_ROW)[indices]
