"""`ColumnFacts`: what a sample of a column shows of its type and values, before any config.

Shapes: B rows of the sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from recsys_mtl.columns.canonical import ZONE, canonical, stripped
from recsys_mtl.columns.numbers import NULL_NUMBERS, Floats, parse_numbers
from recsys_mtl.columns.spelling import iso_times

Form = Literal["numbers", "booleans", "texts", "dates", "lists", "other"]
_SHOWN = 3
_LONGEST = 24  # of an example
_MOST_WORDS = 3  # that mean missing among numbers
_SKEW = 10.0  # the largest amount over the median one
_IDS = frozenset({
    "id", "ids", "uuid", "guid", "code", "zip", "zipcode", "postcode", "postal", "sku", "hash",
    "type", "category", "cat", "class", "segment", "region", "store", "item", "user", "customer",
    "client", "product",
})  # fmt: skip
CODE = r"^[+-]?0\d|^[+-]?\d{16,}$"
"""Texts of digits that are no number: leading zeros, or more digits than a float64 holds."""
_EXACT = 2.0**53  # integers below are all float64
_ISO = rf"^\s*\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?{ZONE})?)?\s*$"


@dataclass(frozen=True)
class ColumnFacts:
    """A column of a sample.

    Attributes:
        name: of the column.
        form: what its values are; a text column whose texts are numbers has numbers.
        values: (B,) float64, boolean, canonical text, a time, or lists; null where missing.
        integers: whether all numbers are whole.
        words: texts among numbers, which must mean missing.
        stored_text: whether a typed file holds text where the values are numbers.
        complete: whether the sample is the table.
        reason: of `other`: what it is.
    """

    name: str
    form: Form
    values: pl.Series
    integers: bool = False
    words: tuple[str, ...] = ()
    stored_text: bool = False
    complete: bool = True
    reason: str = ""

    @property
    def rows(self) -> int:
        """Of the sample."""
        return len(self.values)

    @property
    def nulls(self) -> int:
        """Missing values."""
        return self.values.null_count()

    @cached_property
    def known(self) -> pl.Series:
        """Values that are not missing; the entries of lists."""
        if self.form == "lists":
            return self.values.drop_nulls().explode().drop_nulls()
        return self.values.drop_nulls()

    @cached_property
    def counts(self) -> pl.DataFrame:
        """Distinct values by falling number of rows: `value` and `rows`."""
        counted = self.known.alias("value").value_counts(name="rows")
        return counted.sort("rows", "value", descending=[True, False])

    @property
    def distinct(self) -> int:
        """Distinct known values."""
        return self.counts.height

    @property
    def is_unique(self) -> bool:
        """Whether no two rows have the same value."""
        return self.form != "lists" and 1 < self.distinct == len(self.known)

    @property
    def singles(self) -> float:
        """Share of the known values that occur once: about that of new ones later (Good-Turing)."""
        return int((self.counts["rows"] == 1).sum()) / max(len(self.known), 1)

    @cached_property
    def numbers(self) -> Floats:
        """Known numbers that are finite."""
        return (
            self.known.cast(pl.Float64).filter(self.known.cast(pl.Float64).is_finite()).to_numpy()
        )

    @property
    def infinite(self) -> bool:
        """Whether a number is infinite."""
        return self.form == "numbers" and len(self.numbers) < len(self.known)

    @property
    def is_skewed(self) -> bool:
        """Whether numbers from 0 on have a long tail."""
        amounts = self.numbers[self.numbers > 0]
        if len(amounts) < len(self.numbers) - int((self.numbers == 0).sum()) or not len(amounts):
            return False
        return bool(amounts.max() > _SKEW * np.median(amounts))

    @property
    def named_like_id(self) -> bool:
        """Whether the name says that numbers are names of something."""
        words = words_of(self.name)
        return "onehot" in words or bool(words and words[-1] in _IDS)

    def described(self) -> str:
        """Distinct values, range or examples, and the share of nulls, in a few words."""
        parts = []
        if self.nulls:
            parts.append(f"{self.nulls / self.rows:.1%} null")
        if self.form in ("numbers", "dates"):
            low, high = self.known.min(), self.known.max()
            parts += [f"{self.distinct:,} distinct", f"{shown(low)} to {shown(high)}"]
        else:
            of = " entries" if self.form == "lists" else ""
            parts.append(f"{self.distinct:,} distinct{of}: {self.examples()}")
        return ", ".join(parts)

    def examples(self) -> str:
        """The most frequent values."""
        texts = [shown(value) for value in self.counts["value"].head(_SHOWN)]
        return ", ".join(texts) + (", …" if self.distinct > _SHOWN else "")


def words_of(name: str) -> list[str]:
    """The words of a column's name in lower case, without digits: `userId_2` has user and id."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word]


def shown(value: object) -> str:
    """A value in a comment."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    text = str(value).removesuffix(" 00:00:00")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def facts_of(values: pl.Series, *, complete: bool = True, csv: bool = False) -> ColumnFacts:
    """The facts of a column as it is read.

    Args:
        values: (B,).
        complete: whether these are all rows of the table.
        csv: whether it is from a CSV file, where all columns are text.
    """
    name, dtype = values.name, values.dtype
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _of_texts(values.cast(pl.String), complete, csv=csv)
    if dtype == pl.Boolean:
        return ColumnFacts(name, "booleans", values, complete=complete)
    if dtype.is_integer() and (values.cast(pl.Float64).abs() >= _EXACT).any():
        return _of_texts(values.cast(pl.String), complete, csv=csv)
    if dtype.is_numeric():
        return _of_numbers(values.cast(pl.Float64), complete, integers=dtype.is_integer())
    if isinstance(dtype, pl.Date | pl.Datetime):
        return ColumnFacts(name, "dates", values, complete=complete)
    if isinstance(dtype, pl.List | pl.Array):
        lists = values.cast(pl.List(dtype.inner))
        inner = pl.Series(dtype=dtype.inner).dtype
        if inner.is_nested() or inner.is_float() or isinstance(inner, pl.Decimal):
            return _other(values, "a vector: store each number as a column", complete)
        return ColumnFacts(name, "lists", lists, complete=complete)
    if dtype == pl.Null:
        return ColumnFacts(name, "texts", values.cast(pl.String), complete=complete)
    return _other(values, f"type {dtype}, which no feature reads", complete)


def _other(values: pl.Series, reason: str, complete: bool) -> ColumnFacts:
    empty = pl.Series(values.name, [None], dtype=pl.String).new_from_index(0, len(values))
    return ColumnFacts(values.name, "other", empty, complete=complete, reason=reason)


def _of_numbers(
    values: pl.Series,
    complete: bool,
    *,
    integers: bool = False,
    words: Sequence[str] = (),
    text: bool = False,
) -> ColumnFacts:
    known = values.fill_nan(None)
    if not integers:
        integers = bool((known.drop_nulls().round(0) == known.drop_nulls()).all())
    return ColumnFacts(
        values.name,
        "numbers",
        known,
        integers=integers,
        words=tuple(words),
        stored_text=text,
        complete=complete,
    )


def _of_texts(values: pl.Series, complete: bool, *, csv: bool) -> ColumnFacts:
    """Numbers, booleans or dates where all texts are, but for a few words among numbers."""
    texts = stripped(canonical(values)).alias(values.name)
    distinct = texts.drop_nulls().unique().sort()
    as_text = ColumnFacts(values.name, "texts", texts, complete=complete)
    if not len(distinct):
        return as_text
    if distinct.is_in(["true", "false"]).all():
        flags = (texts == "true").alias(values.name)
        return ColumnFacts(values.name, "booleans", flags, complete=complete)
    if distinct.str.contains(_ISO).all():
        times = iso_times(texts.str.replace(rf"(\d\d:\d\d.*?) ?{ZONE}$", "$1"))  # of the clock
        if times.null_count() == texts.null_count():
            return ColumnFacts(values.name, "dates", times, stored_text=True, complete=complete)
    words = distinct.filter(distinct.cast(pl.Float64, strict=False).is_null())
    others = len(words.filter(~words.is_in([*NULL_NUMBERS])))
    numbers = len(distinct) - len(words)
    few = others == 0 or (others <= _MOST_WORDS and numbers > max(10, 2 * others))
    if not (few and numbers) or distinct.str.contains(CODE).any():
        return as_text
    read, _ = parse_numbers(texts, [*NULL_NUMBERS, *words])
    read = read.alias(values.name)
    return _of_numbers(read, complete, words=words.to_list(), text=not csv)
