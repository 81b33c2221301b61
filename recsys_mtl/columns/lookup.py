"""Counting categories and finding their codes, without a Python step per row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical, factorize, stripped
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.sorted_keys import integers_of
from recsys_mtl.columns.spelling import one_spelling

FAST_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_KEPT_RAW = (*FAST_INTEGERS, pl.String)
_ABSENT = np.iinfo(np.int64).min
_DENSE_TIMES, _DENSE_LEAST = 4, 65_536  # largest integer id that a table holds all up to


class Counts:
    """How often each category occurred and with what weight, gathered chunk by chunk."""

    def __init__(self) -> None:
        schema = {"text": pl.String, "rows": pl.UInt64, "mass": pl.Float64}
        self._merged = pl.DataFrame(schema=schema)
        self._pending: list[pl.DataFrame] = []
        self._raw: list[pl.DataFrame] = []  # of one type, not yet turned into text
        self._weighted = False

    def update(self, values: pl.Series, weights: Floats | None = None) -> None:
        """Counts the values of one chunk; null, NaN and blank texts do not count.

        All weights are positive.
        """
        if weights is None:
            counted = values.alias("value").value_counts(name="rows")
            counted = counted.with_columns(pl.col("rows").cast(pl.UInt64))
            if values.dtype in _KEPT_RAW:
                self._keep(counted)
                return
            self._add(counted["value"], counted["rows"], counted["rows"])
        else:
            self._weighted = True
            indices, distinct = factorize(values)
            size = len(distinct)
            counts = pl.Series("rows", np.bincount(indices, minlength=size), pl.UInt64)
            self._add(distinct, counts, pl.Series(np.bincount(indices, weights, size)))
        if sum(part.height for part in self._pending) > self._merged.height:
            self._merge()

    def _keep(self, counted: pl.DataFrame) -> None:
        """Counts values as they are: only in the end are the distinct ones turned into text."""
        if self._raw and self._raw[0].schema != counted.schema:
            self._as_texts()
        self._raw.append(counted)
        if sum(part.height for part in self._raw[1:]) > self._raw[0].height:
            self._raw = [pl.concat(self._raw).group_by("value").agg(pl.col("rows").sum())]

    def _as_texts(self) -> None:
        for part in self._raw:
            self._add(part["value"], part["rows"], part["rows"])
        self._raw = []

    def _add(self, values: pl.Series, rows: pl.Series, mass: pl.Series) -> None:
        text = stripped(canonical(values)).alias("text")
        counted = pl.DataFrame([text, rows.alias("rows"), mass.cast(pl.Float64).alias("mass")])
        self._pending.append(counted)

    @property
    def _held(self) -> int:
        """Categories in memory, some of them several times."""
        return sum(part.height for part in (self._merged, *self._pending, *self._raw))

    def ranked(self, *, without: Iterable[str], least: int = 1) -> dict[str, float]:
        """Category → weight (its number of rows without weights), the largest first.

        Equal weights are in the order of their text. NaN, as CSV has it, is none.

        Args:
            without: categories to leave out.
            least: rows, whatever their weight, that a category has at least.
        """
        self._merge()
        kept = self._merged.filter(
            ~pl.col("text").is_in([*without, "NaN"]), pl.col("rows") >= least
        ).sort("mass", "text", descending=[True, False])
        return dict(zip(kept["text"].to_list(), kept["mass"].to_list(), strict=True))

    def rows_of(self, categories: Iterable[str]) -> list[int]:
        """Rows of each category, whatever their weight."""
        self._merge()
        rows = dict(
            zip(self._merged["text"].to_list(), self._merged["rows"].to_list(), strict=True)
        )
        return [rows[category] for category in categories]

    @property
    def share_seen_once(self) -> float:
        """Share of the rows whose category has no other row; 0 without rows."""
        self._merge()
        count = self._merged["rows"].to_numpy()
        return float((count == 1).sum() / max(count.sum(), 1))

    @property
    def mean_weight(self) -> float:
        """The mean weight of what was counted; 1 without weights."""
        self._merge()
        mass, count = self._merged.select(pl.col("mass", "rows").sum()).row(0)
        return float(mass / count)

    def _merge(self) -> None:
        self._as_texts()
        if not self._pending:
            return
        both = pl.concat([self._merged, *self._pending]).drop_nulls()
        groups = both.group_by("text", maintain_order=self._weighted)  # floats add up in one order
        self._merged = groups.agg(pl.col("rows").sum(), pl.col("mass").sum())
        self._pending = []


class Lookup:
    """Codes of categories.

    A text that the table lacks is looked up as another spelling of the same number or moment.
    Integer columns are looked up as integers; of any other column only the distinct values are
    turned into text.
    """

    def __init__(self, table: Mapping[str, int], *, null: int, unknown: int) -> None:
        self._table: dict[str | None, int] = dict.fromkeys([None], null) | dict(table)
        self._null = null
        self._unknown = unknown

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) code of each value, or the code for null or for unknown."""
        if values.dtype in FAST_INTEGERS:
            return self._codes_of_integers(values)
        indices, distinct = factorize(values)
        texts = canonical(distinct)
        codes = _looked_up(self._table, texts, _ABSENT)
        absent = codes == _ABSENT
        if absent.any():
            others = one_spelling(texts.filter(pl.Series(absent)))
            codes[absent] = _looked_up(self._spelt, others, self._unknown)
        return codes[indices]

    def code(self, value: Any) -> int | None:
        """Code of an integer of 64 bits or a canonical text of the table; None: `codes` knows."""
        if type(value) is not int:
            return self._table.get(value) if type(value) is str else None
        if self._dense is None:
            return None
        return int(self._dense[min(max(value + 1, 0), len(self._dense) - 1)])

    def codes_of_integers(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) code of each."""
        if self._dense is not None:
            return self._dense.take(keys + 1, mode="clip")
        index, codes = self._integers
        looked_up: NDArray[np.int64] = codes[index.get_indexer(keys)]
        return looked_up

    def _codes_of_integers(self, values: pl.Series) -> NDArray[np.int64]:
        nulls = values.null_count()
        integers = values.cast(pl.Int64)
        keys = (integers.fill_null(0) if nulls else integers).to_numpy()
        looked_up = self.codes_of_integers(keys)
        if nulls:
            looked_up[values.is_null().to_numpy()] = self._null
        return looked_up

    @cached_property
    def _dense(self) -> NDArray[np.int64] | None:
        """Codes of -1 (and less), 0, 1, …, beyond the largest category; None: too many of them."""
        index, codes = self._integers
        least, most = (int(index.min()), int(index.max())) if len(index) else (0, 0)
        if least < 0 or most > _DENSE_TIMES * len(index) + _DENSE_LEAST:
            return None
        dense = np.full(most + 3, self._unknown)
        dense[index.to_numpy() + 1] = codes[:-1]
        return dense

    @cached_property
    def _spelt(self) -> dict[str | None, int]:
        """The table by one spelling of its categories; of several alike, the first."""
        texts = pl.Series([*self._table][::-1], dtype=pl.String)
        spelt = one_spelling(texts)
        if spelt.equals(texts):
            return self._table
        codes = reversed(self._table.values())
        return dict(zip(spelt, codes, strict=True)) | {None: self._null}

    @cached_property
    def _integers(self) -> tuple[pd.Index, NDArray[np.int64]]:
        """The categories that are integers, and their codes with that of "not found" (-1) last."""
        table = self._spelt if self._spelt is self._table else self._spelt | self._table
        integers = integers_of(pl.Series([*table], dtype=pl.String))
        codes = np.fromiter(table.values(), np.int64, len(table))
        codes = codes[integers.is_not_null().to_numpy()]
        return pd.Index(integers.drop_nulls().to_numpy()), np.append(codes, self._unknown)


def _looked_up(table: Mapping[str | None, int], texts: pl.Series, absent: int) -> NDArray[np.int64]:
    codes = map(table.get, texts.to_list(), repeat(absent))
    return np.fromiter(codes, np.int64, len(texts))
