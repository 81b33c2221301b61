"""Rows of a request: JSON that is checked against the columns that a model reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, SchemaValidator
from pydantic_core import core_schema as core

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.serving.predictor import Predictor

Row = Mapping[str, Any]
_SHOWN = 60  # characters of a wrong value
_ENDS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]')
_NUMBER = core.float_schema(allow_inf_nan=False, strict=True)
_TEXT = core.union_schema(
    [
        core.str_schema(strict=True),
        core.int_schema(strict=True),
        core.float_schema(allow_inf_nan=False, strict=True),
        core.bool_schema(strict=True),
    ],
    mode="left_to_right",
)
_WORDS = {False: "text, a number, true, false or null", True: "a number or null"}


@dataclass(frozen=True)
class Column:
    """A column of the rows that a model reads.

    Attributes:
        name: of the column.
        numbers: whether its values, or the entries of its lists, are numbers; else categories.
        is_list: whether it holds lists, which may be absent.
        separator: splits text into such a list; empty: lists alone.
        shared: whether its categories are read as numbers too, by another feature.
    """

    name: str
    numbers: bool = False
    is_list: bool = False
    separator: str = ""
    shared: bool = False

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        one = _WORDS[self.numbers]
        if not self.is_list:
            return one
        return f"a list of {one}" + (f", or text with {self.separator}" if self.separator else "")

    @property
    def schema(self) -> CoreSchema:
        """Of a value."""
        entry = _NUMBER if self.numbers else _TEXT
        if not self.is_list:
            return core.nullable_schema(entry)
        value: CoreSchema = core.list_schema(core.nullable_schema(entry), strict=True)
        if self.separator:
            value = core.union_schema([value, core.str_schema(strict=True)], mode="left_to_right")
        return core.nullable_schema(value)

    @property
    def example(self) -> Any:
        """A value that is right."""
        entry: Any = 1.5 if self.numbers or self.shared else "a"
        return [entry] if self.is_list else entry


def columns_of(predictor: Predictor) -> tuple[Column, ...]:
    """The columns that a model reads."""
    columns = []
    for name, dtype in predictor.schema().items():
        entry = dtype.inner if isinstance(dtype, pl.List) else dtype
        own = [f for f in predictor.preprocessor.features if name in f.columns]
        separators = {getattr(feature, "separator", None) or "" for feature in own}
        separator = separators.pop() if len(separators) == 1 else ""
        numbers, is_list = entry == pl.Float64, isinstance(dtype, pl.List)
        shared = not numbers and any(f.reads == "numbers" and not f.derived for f in own)
        columns.append(Column(name, numbers, is_list, separator, shared))
    return tuple(columns)


class Rows:
    """Reads the rows of requests.

    Args:
        columns: that the model reads; others of a row are left out.

    Attributes:
        columns: by name.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = {column.name: column for column in columns}
        row = core.typed_dict_schema(
            {
                column.name: core.typed_dict_field(column.schema, required=not column.is_list)
                for column in columns
            }
        )
        rows = core.list_schema(row, strict=True, fail_fast=True)
        self._schema = core.typed_dict_schema({"rows": core.typed_dict_field(rows, required=True)})
        self._validator = SchemaValidator(self._schema)

    def read(self, body: bytes) -> list[Row]:
        """The rows of a request's body.

        Raises:
            UserError: it is no JSON, or the first row that does not fit, with its column.
        """
        try:
            rows: list[Row] = self._validator.validate_json(body)["rows"]
        except ValidationError as error:
            raise self._reason(error) from None
        return rows

    def json_schema(self) -> dict[str, Any]:
        """Of the body."""
        return GenerateJsonSchema().generate(self._schema)

    def example(self) -> dict[str, Any]:
        """A body with one row."""
        return {"rows": [{name: column.example for name, column in self.columns.items()}]}

    def _reason(self, error: ValidationError) -> UserError:
        """The first mistake."""
        first = error.errors(include_url=False)[0]
        kind, location, value = first["type"], first["loc"], first["input"]
        if kind == "json_invalid":
            return wrong("not JSON", where="the body", found=first["ctx"]["error"])
        if len(location) < 2:
            found = "no rows" if kind == "missing" else _shown(value)
            expected = '{"rows": [{"COLUMN": VALUE, ...}, ...]}'
            return wrong("no rows", where="the body", expected=expected, found=found)
        where = f"row {location[1]} (counted from 0)"
        if len(location) < 3:
            return wrong("not an object", where=where, expected="columns", found=_shown(value))
        column = self.columns[str(location[2])]
        where = f"{where}, column '{column.name}'"
        if kind == "missing":
            return wrong("missing column", where=where, expected=column.expected)
        return wrong("wrong value", where=where, expected=column.expected, found=_shown(value))


def has_more_rows(body: bytes, most: int) -> bool:
    """Whether a body holds more rows than `most`; it is not parsed, as that takes memory for all.

    Rows are the objects in its lists, without those in columns.
    """
    if body.count(b"{") <= most + 1:
        return False
    depth = rows = 0
    for match in _ENDS.finditer(body):
        token = match[0]
        if token in b"{[":
            rows += depth == 2 and token == b"{"
            depth += 1
        elif token in b"}]":
            depth -= 1
        if rows > most:
            return True
    return False


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
