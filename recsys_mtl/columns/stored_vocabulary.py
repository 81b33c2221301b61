"""`StoredVocabulary`: categories with a row each in memory-mapped files, for many millions."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical, factorize
from recsys_mtl.columns.categories import Categories
from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW, UNKNOWN_ROW, Coder
from recsys_mtl.columns.lookup import FAST_INTEGERS
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.sorted_keys import (
    ABSENT,
    INTEGERS,
    TEXTS,
    SortedKeys,
    hashed,
    integers_of,
)
from recsys_mtl.columns.spelling import one_spelling
from recsys_mtl.columns.spilled_counts import SpilledCounts
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.errors import wrong
from recsys_mtl.files import temporary_folder

_MOST = 2**32 - 1
_NAMED = re.compile(r"vocabulary-\d+-(integers|texts)\.arrow")


def is_vocabulary_file(name: str) -> bool:
    """Whether a file of a model is of a vocabulary."""
    return _NAMED.fullmatch(name) is not None


@dataclass
class StoredVocabulary(Categories):
    """Categories in two files, see `SortedKeys`: the integers, and the other texts.

    It codes as a `Vocabulary` of the same categories does.

    Attributes:
        size: number of categories.
        number: of its files, among those of a model.
        folder: of its files.
    """

    kind: ClassVar[str] = "stored_vocabulary"
    size: int = 0
    number: int = 0
    _counts: SpilledCounts | None = field(default=None, init=False, repr=False, compare=False)
    folder: Path | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, vocabulary: Vocabulary, number: int) -> StoredVocabulary:
        """The same categories in files."""
        coder = cls(vocabulary.null_values, vocabulary.min_count, vocabulary.max_size, 0, number)
        counts = vocabulary.counts or [0] * len(vocabulary.values)
        coder._write(vocabulary.texts(), pl.Series(counts, dtype=pl.UInt64))
        return coder

    @property
    def rows(self) -> int:
        """Rows of the table, the reserved ones included."""
        return FIRST_ROW + self.size

    @property
    def names(self) -> Sequence[object]:
        """The categories."""
        return _Names(self)

    @property
    def files(self) -> dict[str, Path]:
        """Its files by name."""
        assert self.folder is not None, "opened"
        return {name: self.folder / name for name in self._file_names}

    def open(self, folder: Path) -> None:
        """Use the files of a folder, which have to stay there.

        Raises:
            UserError: one is missing or damaged.
        """
        self.folder = folder
        for cached in ("_integers", "_texts", "_spelt_nulls", "_seen"):
            vars(self).pop(cached, None)
        known = self._integers.exact + self._texts.exact
        if known != self.size:
            fix = "copy the folder again from where it was saved"
            where = str(folder / self._file_names[0])
            what = "file of another vocabulary"
            raise wrong(what, where=where, expected=f"{self.size:,} values", found=known, fix=fix)

    def adopt(self, folder: Path) -> None:
        """Use the files of a folder, which may then be deleted.

        Raises:
            UserError: one is missing or damaged.
        """
        own = temporary_folder(self)
        for name in self._file_names:
            if (folder / name).is_file():
                _linked(folder / name, own / name)
        self.open(own)

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Counts a chunk of training values."""
        self._counts = self._counts or SpilledCounts()
        self._counts.update(values, weights)

    def finish(self) -> None:
        """Writes the frequent categories; once, whatever number of features it serves."""
        if self._counts is None:
            return
        self._decide_min_count(self._counts.share_seen_once)
        ordered = self._counts.ordered(
            without=self.null_values, least=self.min_count, most=self.max_size
        )
        self._counts = None
        self._write(ordered["text"], ordered["rows"])

    def texts(self) -> pl.Series:
        """(rows - 2,) the categories in the order of their rows."""
        parts = [
            pl.DataFrame([pl.Series("row", keys.rows[: keys.exact]), keys.texts().alias("text")])
            for keys in (self._integers, self._texts)
        ]
        return pl.concat(parts).sort("row")["text"]

    def text_of(self, row: int) -> str:
        """The category of a row."""
        for keys in (self._integers, self._texts):
            at = np.flatnonzero(keys.rows[: keys.exact] == row)
            if len(at):
                return keys.text_of(int(at[0]))
        raise IndexError(row)

    def row_counts(self) -> NDArray[np.int64]:
        """(rows - 2,) training rows of each."""
        counts = np.zeros(self.size, np.int64)
        for keys in (self._integers, self._texts):
            counts[keys.rows[: keys.exact] - FIRST_ROW] = keys.counts[: keys.exact]
        return counts

    def grow(self, other: Coder) -> None:
        """Adds another vocabulary's values behind these, up to `max_size`."""
        if not isinstance(other, Categories):
            return
        texts = other.texts()
        more = texts.filter(pl.Series(self.codes(texts) == UNKNOWN_ROW))
        if self.max_size is not None:
            more = more.head(max(0, self.max_size - self.size))
        if len(more):
            counts = pl.Series(self.row_counts(), dtype=pl.UInt64)
            counts = counts.extend(pl.zeros(len(more), dtype=pl.UInt64, eager=True))
            self._write(pl.concat([self.texts(), more]), counts)

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) row of each value, always within the table."""
        codes: NDArray[np.int64]
        if values.dtype in FAST_INTEGERS:
            integers = values.cast(pl.Int64).fill_null(0).to_numpy()
            keys, where = np.unique(integers, return_inverse=True)  # sorted: few pages are read
            codes = self._of_integers(keys)[where]
            return np.where(values.is_null().to_numpy(), NULL_ROW, codes)
        indices, distinct = factorize(values)
        texts = canonical(distinct)
        codes = _first(self._of_texts(texts, exact=True), _named(texts, self.null_values))
        absent = codes == ABSENT
        if absent.any():
            others = one_spelling(texts.filter(pl.Series(absent)))
            for exact in (False, True):
                codes[absent] = _first(codes[absent], self._of_texts(others, exact=exact))
            codes[absent] = _first(codes[absent], _named(others, self._spelt_nulls))
        return np.where(codes == ABSENT, UNKNOWN_ROW, codes)[indices]

    def _of_integers(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        codes = self._integers.of_integers(keys, exact=True)
        for exact, nulls in ((True, self.null_values), (False, self._spelt_nulls)):
            if not exact:
                codes = _first(codes, self._integers.of_integers(keys, exact=False))
            integers = integers_of(pl.Series(nulls, dtype=pl.String)).drop_nulls().to_numpy()
            codes[(codes == ABSENT) & np.isin(keys, integers)] = NULL_ROW
        return np.where(codes == ABSENT, UNKNOWN_ROW, codes)

    def _of_texts(self, texts: pl.Series, *, exact: bool) -> NDArray[np.int64]:
        """(B,) row of each text, or `ABSENT`."""
        integers = integers_of(texts)
        whole = integers.is_not_null()
        other = (texts.is_not_null() & ~whole).to_numpy()
        codes = np.full(len(texts), ABSENT)
        keys = integers.filter(whole).to_numpy()
        codes[whole.to_numpy()] = self._integers.of_integers(keys, exact=exact)
        if other.any():
            codes[other] = self._texts.of_texts(texts.filter(pl.Series(other)), exact=exact)
        return codes

    def _write(self, texts: pl.Series, counts: pl.Series) -> None:
        """Write and open the files of categories in the order of their rows."""
        own = temporary_folder(self)
        self.size = len(texts)
        row = pl.Series("row", np.arange(FIRST_ROW, self.rows, dtype=np.int32))
        every = pl.DataFrame([texts.alias("text"), row, counts.alias("seen")])
        integers = integers_of(texts)
        others = every.filter(integers.is_null())
        spelt = others.with_columns(one_spelling(others["text"]).alias("spelt"))
        spelt = spelt.filter(pl.col("spelt") != pl.col("text"))
        if spelt.height:  # the first category of several alike, which may be spelt so
            spelt = spelt.select(pl.col("spelt").alias("text"), "row")
            alike = every.select("text", "row").join(spelt, on="text", how="semi")
            spelt = pl.concat([spelt, alike]).group_by("text").agg(pl.col("row").min())
        spelt = spelt.select("text", "row", pl.lit(0, pl.UInt64).alias("seen"))
        for schema, name in zip((INTEGERS, TEXTS), self._file_names, strict=True):
            parts = [_keyed(part, schema is INTEGERS) for part in (every, spelt)]
            SortedKeys.write(own / name, schema, *parts)
        self.open(own)

    @property
    def _file_names(self) -> tuple[str, str]:
        start = f"vocabulary-{self.number}"
        return f"{start}-integers.arrow", f"{start}-texts.arrow"

    @cached_property
    def _integers(self) -> SortedKeys:
        return SortedKeys(self.files[self._file_names[0]], INTEGERS)

    @cached_property
    def _texts(self) -> SortedKeys:
        return SortedKeys(self.files[self._file_names[1]], TEXTS)

    @cached_property
    def _spelt_nulls(self) -> list[str]:
        return one_spelling(pl.Series(self.null_values, dtype=pl.String)).drop_nulls().to_list()


class _Names(Sequence[object]):
    """The categories of a vocabulary, of which few are asked for."""

    def __init__(self, coder: StoredVocabulary) -> None:
        self._coder = coder

    def __len__(self) -> int:
        return self._coder.size

    def __getitem__(self, index: Any) -> Any:
        return self._coder.text_of(FIRST_ROW + range(len(self))[index])


def grown(coder: Coder, other: Coder, number: int) -> Coder:
    """A coder with another fit's values, in files where the other's are.

    Args:
        coder: of the new rows; may grow in place.
        other: of another fit.
        number: of its files, if it gets some.
    """
    if isinstance(coder, Vocabulary) and isinstance(other, StoredVocabulary):
        coder = StoredVocabulary.of(coder, number)
    coder.grow(other)
    return coder


def _linked(path: Path, to: Path) -> None:
    """The same file at another path: a hard link where the disk has them, else a copy."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copyfile(path, to)


def _first(codes: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(codes == ABSENT, others, codes)


def _named(texts: pl.Series, nulls: list[str]) -> NDArray[np.int64]:
    """(B,) the row of null, or `ABSENT`."""
    null = texts.is_null() | texts.is_in(nulls).fill_null(False)
    return np.where(null.to_numpy(), NULL_ROW, ABSENT)


def _keyed(categories: pl.DataFrame, integers: bool) -> pl.DataFrame:
    """The rows of a file."""
    keys = integers_of(categories["text"])
    kept = categories.drop("text") if integers else categories
    kept = kept.filter(keys.is_not_null() if integers else keys.is_null())
    key = keys.drop_nulls() if integers else pl.Series(hashed(kept["text"]), dtype=pl.UInt64)
    seen = kept["seen"].clip(upper_bound=_MOST).cast(pl.UInt32)
    return kept.with_columns(key.alias("key"), seen)
