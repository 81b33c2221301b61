"""`TableFeature`: base of the kinds whose values are rows of an embedding table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.bins import Bins, CategoryBins
from recsys_mtl.columns.canonical import canonical
from recsys_mtl.columns.coder import Coder
from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.spelling import null_texts, one_spelling
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.inputs import InputModule


@dataclass
class TableFeature(Feature):
    """Categories, coded as table rows.

    Attributes:
        dim: embedding width.
        coder: from category to table row.
    """

    reads: ClassVar[Literal["text", "numbers"]] = "text"
    dtype: ClassVar[pl.DataType] = pl.String()
    dim: int
    coder: Coder

    def finish(self) -> None:
        """Ends the fit."""
        self.coder.finish()

    @classmethod
    def comparable(cls, values: pl.Series) -> pl.Series:
        """(B,) canonical texts."""
        return canonical(values)

    def compared(self, entries: pl.Series) -> pl.Series:
        """Canonical texts in one spelling, null where `null_values` says so."""
        texts = one_spelling(canonical(entries))
        return texts.set(texts.is_in(self.coder.null_values).fill_null(False), None)

    def bins_of(self, what: str, observed: NDArray[Any]) -> Bins:
        """A bin for each frequent category."""
        known = self.coder.values if isinstance(self.coder, Vocabulary) else []
        return CategoryBins.of(observed, self.coder.rows, known)

    @classmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule | None:
        """None: only pooled embeddings."""
        return None


def coder_of(section: CategoryConfigBase) -> Coder:
    """The unfitted coder of a section."""
    nulls = null_texts(section.null_values)
    if section.buckets is not None:
        return HashBuckets(nulls, section.buckets, one_spelling=True)
    return Vocabulary(nulls, section.min_count, section.max_size)
