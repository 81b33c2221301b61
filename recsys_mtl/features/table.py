"""`TableFeature`: base of the kinds whose values are rows of an embedding table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import polars as pl

from recsys_mtl.columns.canonical import canonical, canonical_texts
from recsys_mtl.columns.coder import Coder
from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.features.feature import Feature


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


def coder_of(section: CategoryConfigBase) -> Coder:
    """The unfitted coder that a section asks for."""
    nulls = canonical_texts(section.null_values)
    if section.buckets is not None:
        return HashBuckets(nulls, section.buckets)
    return Vocabulary(nulls, section.min_count, section.max_size)
