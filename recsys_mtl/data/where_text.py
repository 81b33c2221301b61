"""The text of a row condition, cut into comparisons and what joins them; see `where`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from recsys_mtl.errors import UserError, wrong

_COLUMN = re.compile(r"`([^`]+)`|([A-Za-z_][\w.\-]*)")
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?!\w)")
_OPERATOR = re.compile(r"==|=|!=|<>|<=|>=|<|>")
_ARITHMETIC = re.compile(r"[-+*/%]")
_TEXT = re.compile(r"""'((?:[^']|'')*)'|"([^"]*)\"""")
_WORD = re.compile(r"""[^\s'"=!<>`][^\s'"=!<>]*""")  # brackets too, as in Halle(Saale)
_LISTED = re.compile(r"""[^\s'"=!<>`(),]+""")
_OPEN, _CLOSING, _COMMA = re.compile(r"\("), re.compile(r"\)"), re.compile(",")
_OPENING = re.compile(r"\(|not(?=[\s(`])(?!\s*(?:=|!=|<|>))", re.IGNORECASE)
_JOINED = re.compile(r"(?:and|or)(?=[\s(`])", re.IGNORECASE)
_NOT, _IN, _BETWEEN, _AND, _IS, _NULL = (
    re.compile(rf"{word}(?=[\s(`)]|$)", re.IGNORECASE)
    for word in ("not", "in", "between", "and", "is", "null")
)
_A_COLUMN = "a column name (in backticks if it has other than letters)"
_A_VALUE = "a value (in quotes if it has spaces)"


@dataclass(frozen=True)
class ColumnName:
    """A column that is read."""

    name: str


@dataclass(frozen=True)
class Value:
    """A value; `quoted`: it was written in quotes."""

    text: str
    quoted: bool


@dataclass(frozen=True)
class Predicate:
    """`column op value`, or any other comparison: columns, values, and SQL between them."""

    tokens: tuple[ColumnName | Value | str, ...]

    @property
    def columns(self) -> list[ColumnName]:
        """At least one."""
        return [token for token in self.tokens if isinstance(token, ColumnName)]

    @property
    def values(self) -> list[Value]:
        """Empty where the column is tested for null."""
        return [token for token in self.tokens if isinstance(token, Value)]

    @property
    def calculates(self) -> bool:
        """Whether an operand is arithmetic."""
        return any(token in self.tokens for token in "+-*/%")

    @property
    def lists(self) -> bool:
        """Whether a list of values is compared with."""
        return "IN" in self.tokens

    @property
    def tests_null(self) -> bool:
        """Whether the column is null, or not."""
        return "NULL" in self.tokens


def parse_parts(text: str, where: str) -> tuple[Predicate | str, ...]:
    """Comparisons, AND, OR, NOT and brackets, in their order: SQL once these are filled in.

    Args:
        text: the condition.
        where: the path in the config, for messages.

    Raises:
        UserError: the text is no condition; names the position and what was expected there.
    """
    reader = _Tokenizer(text, where)
    parts: list[Predicate | str] = []
    while True:
        while opening := reader.take(_OPENING):
            parts.append(opening.upper())
            reader.depth += opening == "("
        parts.append(Predicate(tuple(reader.comparison())))
        while reader.depth and reader.take(_CLOSING):
            parts.append(")")
            reader.depth -= 1
        if reader.at_end and not reader.depth:
            return tuple(parts)
        after = "`and`, `or` or " + ("`)`" if reader.depth else "the end")
        parts.append(reader.require(_JOINED, after).upper())


class _Tokenizer:
    """Reads a condition's text piece by piece.

    Attributes:
        depth: open brackets.
    """

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where, self._position = text, where, 0
        self.depth = 0

    @property
    def at_end(self) -> bool:
        """Whether only spaces are left."""
        return not self._text[self._position :].strip()

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """The next piece where it matches."""
        match = self._match(pattern)
        return None if match is None else match[0]

    def require(self, pattern: re.Pattern[str], expected: str) -> str:
        """The next piece, which has to match."""
        piece = self.take(pattern)
        if piece is None:
            raise self._wrong(expected)
        return piece

    def comparison(self) -> list[ColumnName | Value | str]:
        """The tokens of the next comparison."""
        tokens = self._calculated(self._operand(_A_COLUMN))
        if self.take(_IS):
            negated = self.take(_NOT)
            self.require(_NULL, "`null`" if negated else "`null` or `not null`")
            return [*tokens, "IS", *(["NOT"] if negated else []), "NULL"]
        if self.take(_NOT):
            tokens.append("NOT")
        if self.take(_IN):
            return [*tokens, "IN", *self._list()]
        if self.take(_BETWEEN):
            tokens += ["BETWEEN", self._value(_WORD)]
            self.require(_AND, "`and`")
            return [*tokens, "AND", self._value(_WORD)]
        if tokens[-1] == "NOT":
            raise self._wrong("`in` or `between`")
        operator = self.require(_OPERATOR, "one of == != < <= > >=, in, between or is null")
        tokens.append({"==": "=", "!=": "<>"}.get(operator, operator))
        return tokens + self._calculated(self._value(_WORD))

    def _calculated(self, first: ColumnName | Value) -> list[ColumnName | Value | str]:
        """The operand with the arithmetic that follows it."""
        tokens: list[ColumnName | Value | str] = [first]
        while operator := self.take(_ARITHMETIC):
            word = tokens[0]
            if isinstance(word, Value) and not word.quoted and _COLUMN.fullmatch(word.text):
                tokens[0] = ColumnName(word.text)
            tokens += [operator, self._operand("a number or a column name")]
        return tokens

    def _operand(self, expected: str) -> ColumnName | Value:
        start = self._position
        if number := self.take(_NUMBER):
            if expected != _A_COLUMN or self._match(_ARITHMETIC, move=False):
                return Value(number, quoted=False)
            self._position = start
        column = self._match(_COLUMN)
        if column is None:
            raise self._wrong(expected)
        return ColumnName(column[1] or column[2])

    def _value(self, word: re.Pattern[str]) -> ColumnName | Value:
        """The right operand: a value, or a column in backticks."""
        if text := self._match(_TEXT):
            return Value(text[2] if text[1] is None else text[1].replace("''", "'"), quoted=True)
        if (column := self._match(_COLUMN, move=False)) and column[1]:
            self._position = column.end()
            return ColumnName(column[1])
        match = self._match(word, move=False)
        value = "" if match is None else match[0]
        while self.depth and value.count(")") > value.count("("):  # it closes an earlier one
            value = value[: value.rindex(")")]
        if match is None or not value:
            raise self._wrong(_A_VALUE)
        self._position = match.start() + len(value)
        return Value(value, quoted=False)

    def _list(self) -> Sequence[ColumnName | Value | str]:
        self.require(_OPEN, "`(`")
        tokens: list[ColumnName | Value | str] = ["(", self._value(_LISTED)]
        while self.take(_COMMA):
            tokens += [",", self._value(_LISTED)]
        self.require(_CLOSING, "`,` or `)`")
        return [*tokens, ")"]

    def _match(self, pattern: re.Pattern[str], *, move: bool = True) -> re.Match[str] | None:
        rest = self._text[self._position :]
        start = self._position + len(rest) - len(rest.lstrip())
        match = pattern.match(self._text, start)
        if match is not None and move:
            self._position = match.end()
        return match

    def _wrong(self, expected: str) -> UserError:
        rest = self._text[self._position :].lstrip()
        position = len(self._text) - len(rest)
        return wrong(
            f"cannot read the condition `{self._text}` at character {position + 1}",
            where=self._where,
            expected=expected,
            found=f"'{rest}'" if rest else "the end",
            fix="write comparisons such as `click == 1`, joined by and, or, not; no functions",
        )
