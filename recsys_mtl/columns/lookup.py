"""Counting categories and finding their codes, without a Python step per row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import repeat

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical, factorize
from recsys_mtl.columns.spelling import one_spelling

_FAST_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_INT64 = np.iinfo(np.int64)
_ABSENT = _INT64.min


class Counts:
    """How often each category occurred, gathered chunk by chunk."""

    def __init__(self) -> None:
        schema = {"text": pl.String, "count": pl.UInt64}
        self._merged = pl.DataFrame(schema=schema)
        self._pending: list[pl.DataFrame] = []

    def update(self, values: pl.Series) -> None:
        """Counts the values of one chunk; null and NaN do not count."""
        counted = values.alias("value").value_counts(name="count")
        text = canonical(counted["value"]).alias("text")
        self._pending.append(pl.DataFrame([text, counted["count"].cast(pl.UInt64)]))
        if sum(part.height for part in self._pending) > self._merged.height:
            self._merge()

    def ranked(self, *, without: Iterable[str]) -> dict[str, int]:
        """Category → count, the most frequent first, equal counts in the order of their text."""
        self._merge()
        kept = self._merged.filter(~pl.col("text").is_in(list(without)))
        kept = kept.sort("count", "text", descending=[True, False])
        return dict(zip(kept["text"].to_list(), kept["count"].to_list(), strict=True))

    def _merge(self) -> None:
        both = pl.concat([self._merged, *self._pending]).drop_nulls()
        self._merged = both.group_by("text").agg(pl.col("count").sum())
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
        if values.dtype in _FAST_INTEGERS:
            return self._codes_of_integers(values)
        indices, distinct = factorize(values)
        texts = canonical(distinct)
        codes = _looked_up(self._table, texts, _ABSENT)
        absent = codes == _ABSENT
        if absent.any():
            others = one_spelling(texts.filter(pl.Series(absent)))
            codes[absent] = _looked_up(self._spelt, others, self._unknown)
        return codes[indices]

    def _codes_of_integers(self, values: pl.Series) -> NDArray[np.int64]:
        index, codes = self._integers
        looked_up: NDArray[np.int64] = codes[
            index.get_indexer(values.cast(pl.Int64).fill_null(0).to_numpy())
        ]
        if values.null_count():
            looked_up[values.is_null().to_numpy()] = self._null
        return looked_up

    @cached_property
    def _spelt(self) -> dict[str | None, int]:
        """The table by one spelling of its categories; of several alike, the first."""
        spelt = one_spelling(pl.Series([*self._table][::-1], dtype=pl.String))
        codes = reversed(self._table.values())
        return dict(zip(spelt, codes, strict=True)) | {None: self._null}

    @cached_property
    def _integers(self) -> tuple[pd.Index, NDArray[np.int64]]:
        """The categories that are integers, and their codes with that of "not found" (-1) last."""
        keys = {
            int(text): code
            for text, code in (self._spelt | self._table).items()
            if text is not None and _INTEGER.fullmatch(text)
        }
        keys = {key: code for key, code in keys.items() if _INT64.min <= key <= _INT64.max}
        codes = np.array([*keys.values(), self._unknown], dtype=np.int64)
        return pd.Index(np.array(list(keys), dtype=np.int64)), codes


def _looked_up(table: Mapping[str | None, int], texts: pl.Series, absent: int) -> NDArray[np.int64]:
    codes = map(table.get, texts.to_list(), repeat(absent))
    return np.fromiter(codes, np.int64, len(texts))
