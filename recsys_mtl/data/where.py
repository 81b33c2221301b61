"""Row conditions such as `click == 1 and country != "DE"`: parsed and evaluated, never `eval`.

A condition is `COLUMN OP VALUE`, several joined by `and`; OP is one of == != < <= > >=. A column
whose name is not a plain word is written in backticks, a value with spaces in quotes. An unquoted
number compares numerically, with text too (a text that is no number does not satisfy it); all else
compares canonical texts.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from recsys_mtl.columns.canonical import canonical, canonical_texts
from recsys_mtl.errors import UserError, did_you_mean, wrong

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COLUMN = re.compile(r"`([^`]+)`|([A-Za-z_][\w.\-]*)")
_OPERATOR = re.compile(r"==|!=|<=|>=|<(?![<>=])|>(?![<>=])")
_VALUE = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s'"=!<>]+)""")
_AND = re.compile(r"and(?=[\s`])")


@dataclass(frozen=True)
class Comparison:
    """`column op value`; `quoted` says that the value was written in quotes."""

    column: str
    op: str
    value: str
    quoted: bool


@dataclass(frozen=True)
class Condition:
    """Comparisons that must all hold.

    Attributes:
        text: the condition as it was written.
        where: the place in the config, for messages.
        comparisons: at least one.
    """

    text: str = field(compare=False)
    where: str = field(compare=False)
    comparisons: tuple[Comparison, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once."""
        return tuple(dict.fromkeys(c.column for c in self.comparisons))

    def mask(self, frame: pl.DataFrame) -> pl.Series:
        """Boolean, one a row: whether the condition holds; null in a column means it does not.

        Raises:
            UserError: a column is missing or has lists or durations, or a number column is compared
                with something else.
        """
        check(self, frame.columns, self.where)
        mask = pl.repeat(True, frame.height, eager=True)
        for comparison in self.comparisons:
            mask = mask & self._compare(frame[comparison.column], comparison)
        return mask.fill_null(False).alias("mask")

    def _compare(self, values: pl.Series, comparison: Comparison) -> pl.Series:
        dtype, number = values.dtype, _number(comparison.value)
        compare = _OPERATORS[comparison.op]
        if dtype.is_nested() or dtype in (pl.Duration, pl.Binary, pl.Object):
            raise self._wrong(comparison, "a column of single values", f"of {dtype}, not")
        if dtype.is_numeric() or dtype == pl.Boolean:
            if number is None:
                raise self._wrong(comparison, "a number", f"the {dtype} column")
            numbers = values.cast(pl.Int8) if dtype == pl.Boolean else values
        elif _is_finite(number) and not comparison.quoted and not dtype.is_temporal():
            numbers = _numbers(values.cast(pl.String))
        else:
            texts = canonical(values)
            result: pl.Series = compare(texts, canonical_texts([comparison.value])[0])
            return result
        if numbers.dtype.is_float():
            numbers = numbers.fill_nan(None)
        result = compare(numbers, number)
        return result

    def _wrong(self, comparison: Comparison, expected: str, column: str) -> UserError:
        return wrong(
            f"`{self.text}` cannot be evaluated",
            where=self.where,
            expected=f"{expected} to compare with {column} '{comparison.column}'",
            found=f"'{comparison.value}'",
        )


def parse(text: str, where: str) -> Condition:
    """Parse a condition.

    Args:
        text: `COLUMN OP VALUE [and COLUMN OP VALUE …]`.
        where: the place in the config, for messages.

    Raises:
        UserError: the text is no condition; names the position and what was expected there.
    """
    comparisons = []
    position = 0

    def take(pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        nonlocal position
        position += len(text[position:]) - len(text[position:].lstrip())
        match = pattern.match(text, position)
        if match is None:
            raise wrong(
                f"cannot read the condition `{text}` at character {position + 1}",
                where=where,
                expected=expected,
                found=f"'{text[position:]}'" if position < len(text) else "the end",
                fix="write COLUMN OP VALUE, joined by `and`, such as `click == 1`",
            )
        position = match.end()
        return match

    while True:
        column = take(_COLUMN, "a column name (in backticks if it has other than letters)")
        op = take(_OPERATOR, "one of == != < <= > >=")
        value = take(_VALUE, "a value (in quotes if it has spaces)")
        comparisons.append(
            Comparison(
                column=column[1] or column[2],
                op=op[0],
                value=next(group for group in value.groups() if group is not None),
                quoted=value[3] is None,
            )
        )
        if not text[position:].strip():
            return Condition(text, where, tuple(comparisons))
        take(_AND, "`and` or the end")


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


def _is_finite(number: float | None) -> bool:
    return number is not None and math.isfinite(number)  # `nan` and `inf` may be words


def _numbers(text: pl.Series) -> pl.Series:
    """Texts as numbers (true and false are 1 and 0); null where it is none."""
    plain = canonical(text).replace({"true": "1", "false": "0"})
    whole = plain.cast(pl.Int64, strict=False)  # exact, unlike a float, for long ids
    if whole.null_count() == text.null_count():
        return whole
    return plain.cast(pl.Float64, strict=False)


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
