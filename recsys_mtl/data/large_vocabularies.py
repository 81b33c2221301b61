"""Vocabularies that go to files: which tables have so many values, and their count over all rows.

A vocabulary in memory is fitted on `data.fit_rows` rows and knows no more values than these have.
How many values all training rows have is estimated while these are read anyway; a table of many
millions is counted in one more pass, which reads its columns alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.stored_vocabulary import StoredVocabulary
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tables import sections_of
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.splits import Splits
from recsys_mtl.errors import UserError
from recsys_mtl.features.feature import Feature
from recsys_mtl.features.registry import features_of
from recsys_mtl.features.table import TableFeature, coder_of, features_by_table

log = logging.getLogger(__name__)
FILE_FROM = 5_000_000
"""Values from which `storage: auto` is a file: in memory each takes about 300 bytes."""
_SKETCH = 4096


@dataclass
class DistinctCount:
    """About how many distinct values there are, within 2 %, in 32 KiB.

    By the k smallest hashes (Bar-Yossef et al. 2002, "Counting distinct elements in a data
    stream"): of n random numbers of [0, 1), the k-th is about k / n.
    """

    _smallest: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def update(self, values: pl.Series) -> None:
        """Take note of values."""
        categories = isinstance(values.dtype, pl.Categorical | pl.Enum)
        hashes = (values.cast(pl.String) if categories else values).hash().unique().to_numpy()
        if len(self._smallest) == _SKETCH:
            hashes = hashes[hashes < self._smallest[-1]]
        if len(hashes):
            self._smallest = np.unique(np.concatenate([self._smallest, hashes]))[:_SKETCH]

    def estimate(self) -> float:
        """Of all values."""
        if len(self._smallest) < _SKETCH:
            return len(self._smallest)
        return (_SKETCH - 1) * 2.0**64 / float(self._smallest[-1])


class LargeVocabularies:
    """Finds the tables whose vocabulary goes to a file, and counts them.

    Args:
        config: the run.
        rows: of the training split.
    """

    def __init__(self, config: Config, rows: int) -> None:
        self._sections = sections_of(config.features)
        of_items = {task.table_of_items for task in config.tasks.values()}
        self._all_fitted = rows <= config.data.fit_rows
        self._tables = {
            table: features
            for table, features in features_by_table(features_of(config.features)).items()
            if self._section(features[0]).encoding == "vocabulary"
            and self._section(features[0]).storage != "memory"
            and table not in of_items
        }
        self._sizes = {table: DistinctCount() for table in self._tables}

    def see(self, frame: pl.DataFrame) -> None:
        """Take note of training rows; a wrong column is left to the fit, which reports it."""
        if self._all_fitted:
            return
        for table, features in self._tables.items():
            if self._section(features[0]).storage == "auto":
                for feature in features:
                    with suppress(UserError, pl.exceptions.PolarsError):
                        self._sizes[table].update(feature.entries(feature.read(frame)))

    def count(self, splits: Splits, fitted: Preprocessor) -> None:
        """Put vocabularies in files, those of values beyond the fitted rows counted anew.

        Args:
            splits: the rows.
            fitted: on the rows of the fit; features of these tables get another coder.

        Raises:
            UserError: a value that may not be.
        """
        anew: list[TableFeature] = []
        tables = features_by_table(fitted.features)
        for number, (table, features) in enumerate(tables.items()):
            if table not in self._tables or not self._is_large(table, features[0]):
                continue
            coder = features[0].coder
            assert isinstance(coder, Vocabulary)
            if self._all_fitted:
                stored = StoredVocabulary.of(coder, number)
            else:
                section = coder_of(self._section(features[0]))
                assert isinstance(section, Vocabulary)
                stored = StoredVocabulary(
                    section.null_values, section.min_count, section.max_size, 0, number
                )
                anew += features
            for feature in features:
                feature.coder = stored
        self._count_anew(splits, fitted, anew)
        for table, (feature, *_) in tables.items():
            if isinstance(feature.coder, StoredVocabulary):
                rows = feature.coder.rows
                log.info("table of '%s': %s rows, its vocabulary in a file", table, f"{rows:,}")

    def _count_anew(
        self, splits: Splits, fitted: Preprocessor, features: list[TableFeature]
    ) -> None:
        if not features:
            return
        names = ", ".join(dict.fromkeys(f"'{feature.key}'" for feature in features))
        log.info("counting %s over all %s training rows", names, f"{splits.counts['train']:,}")
        for frame, rows in _weighted(splits, fitted, features):
            for feature in features:
                feature.update(feature.read(frame), rows)
        for feature in features:
            feature.coder.finish()

    def _is_large(self, table: str, feature: TableFeature) -> bool:
        section = self._section(feature)
        if section.storage == "file":
            return True
        known = feature.coder.rows if self._all_fitted else self._sizes[table].estimate()
        return min(known, section.max_size or known) >= FILE_FROM

    def _section(self, feature: Feature) -> CategoryConfigBase:
        section = self._sections[feature.name]
        assert isinstance(section, CategoryConfigBase)
        return section


def _weighted(
    splits: Splits, fitted: Preprocessor, features: list[TableFeature]
) -> Iterator[tuple[pl.DataFrame, Rows]]:
    """The training rows that count, with the columns of features."""
    weight = fitted.weight
    columns = [column for feature in features for column in feature.columns]
    columns += [] if weight is None else [weight.column]
    first = 0
    for frame in splits.frames("train", list(dict.fromkeys(columns))):
        if weight is None:
            yield frame, Rows.of(frame, first)
        else:
            counted = weight.counted(frame)
            rows = Rows.of(counted, first)
            weights = weight.encode(counted[weight.column], rows).astype(np.float64)
            yield counted, replace(rows, weights=weights)
        first += frame.height
