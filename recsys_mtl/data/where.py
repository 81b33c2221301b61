"""Row conditions such as `click == 1 and country in ('DE', 'AT')`, which polars evaluates as SQL.

Comparisons are joined by `and`, `or`, `not` and brackets. On the left is a column, on the right a
value: `COLUMN OP VALUE` with OP one of == = != <> < <= > >=, `COLUMN in (VALUE, …)`,
`COLUMN between VALUE and VALUE`, `COLUMN is null`, each of the last three with `not`. + - * / %
between spaces calculate. A column whose name is not a plain word, or that is on the right, is
written in backticks, a value with spaces in quotes. There are no functions.

An unquoted number compares numerically, with text too (a text that is no number does not satisfy
it); all else compares canonical texts without spaces around. Times with a zone are in that zone,
but in UTC next to a value with a zone, and where only columns of such times are compared. A
comparison with null is neither true nor false.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from recsys_mtl.columns.canonical import canonical, canonical_texts
from recsys_mtl.columns.spelling import has_zone, in_utc, is_moment, with_seconds
from recsys_mtl.data.where_text import ColumnName, Predicate, Value, parse_parts
from recsys_mtl.errors import UserError, did_you_mean, wrong


@dataclass(frozen=True)
class Condition:
    """Comparisons that are joined.

    Attributes:
        text: the condition as it was written.
        where: the path in the config, for messages.
        parts: comparisons, AND, OR, NOT and brackets, in their order.
    """

    text: str = field(compare=False)
    where: str = field(compare=False)
    parts: tuple[Predicate | str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once."""
        return tuple(dict.fromkeys(c.name for part in self._comparisons for c in part.columns))

    def mask(self, frame: pl.DataFrame) -> pl.Series:
        """Boolean, one a row: whether the condition holds, for certain.

        Raises:
            UserError: a column is missing or has lists or durations, or a number column is compared
                with something else.
        """
        check(self, frame.columns, self.where)
        views: list[pl.Series] = []
        sql = [
            part if isinstance(part, str) else self._sql(part, frame, views) for part in self.parts
        ]
        held = pl.DataFrame(views).select(pl.sql_expr(" ".join(sql))).to_series()
        return held.fill_null(False).alias("mask")

    @property
    def _comparisons(self) -> Iterator[Predicate]:
        return (part for part in self.parts if isinstance(part, Predicate))

    def _sql(self, comparison: Predicate, frame: pl.DataFrame, views: list[pl.Series]) -> str:
        """The comparison in SQL; what it reads of the frame is added to the views."""
        columns = [frame[column.name] for column in comparison.columns]
        zoned = len(columns) > 1 and all(getattr(c.dtype, "time_zone", None) for c in columns)
        given = canonical_texts(v.text for v in comparison.values)
        moments = zoned or any(map(has_zone, given))
        timed = len(columns) > 1 or any(map(is_moment, given)) or columns[0].dtype.is_temporal()

        def texts(values: pl.Series) -> pl.Series:
            plain = canonical(values).str.strip_chars()
            plain = with_seconds(plain) if timed and not values.dtype.is_temporal() else plain
            return in_utc(plain) if moments else plain

        if comparison.tests_null:
            numeric = False
            read = [c.fill_nan(None) if c.dtype.is_float() else c for c in columns]
        else:
            for values in columns:
                self._require_single(values, comparison)
            numeric = _is_numeric(comparison, columns)
            read = [_numbers(v) if numeric else texts(v) for v in columns]
        if comparison.calculates:
            read = [values.cast(pl.Float64) for values in read]
        dtype = read[0].dtype
        names = iter(read)

        def render(token: ColumnName | Value | str) -> str:
            if isinstance(token, str):
                return token
            if isinstance(token, ColumnName):
                return _view(next(names), views)
            if not numeric:
                return _quoted(texts(pl.Series(canonical_texts([token.text])))[0])
            number = _number(token.text)
            if number is None:
                raise self._no_number(token.text, columns[0], frame.columns)
            if not math.isfinite(number):
                return _view(pl.repeat(number, frame.height, eager=True), views)
            if dtype == pl.Float32 and comparison.lists:  # SQL's `in` widens the column
                number = float(np.float32(number))
            return str(number) if isinstance(number, int) else f"{number:.17e}"

        return " ".join(render(token) for token in comparison.tokens)

    def _require_single(self, values: pl.Series, comparison: Predicate) -> None:
        dtype, expected = values.dtype, "a column of single values"
        if comparison.calculates and dtype.is_temporal():
            expected = "a column of numbers"
        elif not dtype.is_nested() and dtype not in (pl.Duration, pl.Binary, pl.Object):
            return
        raise wrong(
            f"`{self.text}` cannot be evaluated",
            where=self.where,
            expected=expected,
            found=f"the {dtype} column '{values.name}'",
        )

    def _no_number(self, text: str, values: pl.Series, columns: list[str]) -> UserError:
        return wrong(
            f"`{self.text}` cannot be evaluated",
            where=self.where,
            expected=f"a number to compare with the {values.dtype} column '{values.name}'",
            found=f"'{text}'",
            fix="write a column on the right in backticks" if text in columns else "",
        )


def parse(text: str, where: str) -> Condition:
    """Parse a condition.

    Args:
        text: see the module.
        where: the path in the config, for messages.

    Raises:
        UserError: the text is no condition; names the position and what was expected there.
    """
    return Condition(text, where, parse_parts(text, where))


def check(condition: Condition, columns: Iterable[str], where: str) -> None:
    """Raise a `UserError` with the nearest name if the condition reads an unknown column."""
    known = set(columns)
    for column in condition.columns:
        if column not in known:
            raise wrong(
                f"unknown column '{column}' in `{condition.text}`",
                where=where,
                fix=did_you_mean(column, known),
            )


def _is_numeric(comparison: Predicate, columns: list[pl.Series]) -> bool:
    """Whether numbers are compared, not texts."""
    if comparison.calculates or all(_holds_numbers(values.dtype) for values in columns):
        return True
    if len(columns) > 1 or columns[0].dtype.is_temporal():
        return False
    return all(not v.quoted and _is_finite(_number(v.text)) for v in comparison.values)


def _holds_numbers(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _is_finite(number: float | None) -> bool:
    return number is not None and math.isfinite(number)  # `nan` and `inf` may be words


def _numbers(values: pl.Series) -> pl.Series:
    """Values as numbers (true and false are 1 and 0); null where it is none."""
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8)
    if values.dtype.is_numeric():
        return values.fill_nan(None) if values.dtype.is_float() else values
    text = values.cast(pl.String)
    plain = canonical(text).replace({"true": "1", "false": "0"})
    integers = plain.cast(pl.Int64, strict=False)  # exact, unlike a float, for long ids
    if integers.null_count() == text.null_count():
        return integers
    return plain.cast(pl.Float64, strict=False).fill_nan(None)


def _number(text: str) -> float | int | None:
    """The number that `text` is (true and false are 1 and 0), or None."""
    lowered = text.lower()
    if lowered in ("true", "false"):
        return int(lowered == "true")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _view(values: pl.Series, views: list[pl.Series]) -> str:
    """Adds a column that SQL reads; its name in SQL."""
    name = f"view {len(views)}"
    views.append(values.alias(name))
    return f'"{name}"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
