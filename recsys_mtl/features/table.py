"""`TableFeature`: base of the kinds whose values are rows of an embedding table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.bins import Bins, CategoryBins
from recsys_mtl.columns.canonical import canonical
from recsys_mtl.columns.categories import Categories
from recsys_mtl.columns.coder import FIRST_ROW, Coder
from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.ids import IntegerIds
from recsys_mtl.columns.spec import FeatureSpec
from recsys_mtl.columns.spelling import null_texts, one_spelling
from recsys_mtl.columns.stored_vocabulary import StoredVocabulary
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import CategoryConfigBase, FeatureConfig
from recsys_mtl.config.sizes import auto_dim
from recsys_mtl.errors import prefixed
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.inputs import InputModule

log = logging.getLogger(__name__)


@dataclass
class TableFeature(Feature):
    """Categories, coded as table rows.

    Attributes:
        dim: embedding width; 0: the fit decides by the number of categories.
        coder: from category to table row; one for all features of a table.
        of_table: name of the table; empty: the feature's.
    """

    reads: ClassVar[Literal["text", "numbers"]] = "text"
    dtype: ClassVar[pl.DataType] = pl.String()
    dim: int
    coder: Coder
    of_table: str = field(default="", kw_only=True)

    def finish(self) -> None:
        """Ends the fit."""
        chosen = not self.dim or self.min_count == 0
        with prefixed(f"feature '{self.name}'"):
            self.coder.finish()
        if warning := self.coder.warning():
            log.warning("feature '%s': %s", self.name, warning)
        self.dim = self.dim or auto_dim(self.coder.rows - FIRST_ROW)
        if chosen:
            shown = ", ".join(f"{key} {value}" for key, value in self.table.items() if value)
            log.info("table of '%s': %s", self.name, shown)

    @property
    def key(self) -> str:
        """The name of its table."""
        return self.of_table or self.name

    @property
    def min_count(self) -> int | None:
        """Of the vocabulary; None: there is none."""
        return self.coder.min_count if isinstance(self.coder, Categories) else None

    @property
    def facts(self) -> dict[str, Any]:
        """Its table."""
        return {"table": self.table}

    @property
    def table(self) -> dict[str, int | str | None]:
        """The size of its table, and the rows that a value needs for a row of it."""
        name: dict[str, int | str | None] = {"name": self.of_table} if self.of_table else {}
        return name | {"rows": self.coder.rows, "dim": self.dim, "min_count": self.min_count}

    def unknown_rates(self, alpha: float) -> NDArray[np.float32] | None:
        """(rows,) of the vocabulary; None: there is none."""
        return self.coder.unknown_rates(alpha) if isinstance(self.coder, Categories) else None

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
        return CategoryBins.of(observed, self.coder.rows, self.coder.names)

    @classmethod
    def inputs(cls, features: Sequence[FeatureSpec]) -> InputModule | None:
        """None: only pooled embeddings."""
        return None


def coder_of(section: CategoryConfigBase) -> Coder:
    """The unfitted coder of a section."""
    nulls = null_texts(section.null_values)
    if section.buckets is not None:
        return HashBuckets(nulls, section.buckets, one_spelling=True)
    if section.rows is not None:
        return IntegerIds(nulls, section.rows)
    least = 0 if section.min_count == "auto" else section.min_count
    return Vocabulary(nulls, least, section.max_size)


def features_by_table(features: Iterable[Feature]) -> dict[str, list[TableFeature]]:
    """Table -> the features that read it, in order."""
    by_table: dict[str, list[TableFeature]] = {}
    for feature in features:
        if isinstance(feature, TableFeature):
            by_table.setdefault(feature.key, []).append(feature)
    return by_table


def share_coders(features: Iterable[Feature]) -> None:
    """Gives features of one table one coder, the first one's."""
    for first, *others in features_by_table(features).values():
        for feature in others:
            feature.coder = first.coder


def stored_vocabularies(features: Iterable[Feature]) -> list[StoredVocabulary]:
    """Those of the tables that have one, each once."""
    coders = (first.coder for first, *_ in features_by_table(features).values())
    return [coder for coder in coders if isinstance(coder, StoredVocabulary)]


def stored(features: Sequence[Feature]) -> list[dict[str, Any]]:
    """JSON-able states; a coder is stored with its first feature, others have that one's name."""
    states, owners = [], dict[int, str]()
    for feature in features:
        state = feature.to_dict()
        if isinstance(feature, TableFeature):
            owner = owners.setdefault(id(feature.coder), feature.name)
            state |= {"coder": owner} if owner != feature.name else {}
        states.append(state)
    return states


def restored(states: Iterable[dict[str, Any]]) -> Iterator[Feature]:
    """The features that `stored` gave the states of."""
    coders: dict[Any, Coder] = {}
    for state in states:
        owner = state.get("coder")
        known = {"coder": coders[owner]} if isinstance(owner, str) else {}
        feature = Feature.from_dict(state | known)
        if isinstance(feature, TableFeature):
            coders.setdefault(feature.name, feature.coder)
        yield feature


def set_default_dim(
    features: Iterable[Feature], sections: Mapping[str, FeatureConfig], dim: int | Literal["auto"]
) -> None:
    """Gives fitted tables whose sections name no width the default one.

    Args:
        features: fitted.
        sections: theirs, by name.
        dim: `model.embedding.dim`.
    """
    for feature in features:
        section = sections.get(feature.name)
        if isinstance(feature, TableFeature) and isinstance(section, CategoryConfigBase):
            known = feature.coder.rows - FIRST_ROW
            feature.dim = dim_of(section, 0 if dim == "auto" else dim) or auto_dim(known)


def dim_of(section: CategoryConfigBase, default: int) -> int:
    """The width that a section asks for, or the default; 0: the fit decides."""
    return 0 if section.dim == "auto" else section.dim or default
