"""Rows of requests as the polars columns that a model reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import NoneType
from typing import Any

import polars as pl

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.service.request import Column, Row

_TYPES: dict[type, pl.DataType] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
}
_LARGEST = 2**63


def frame_of(rows: Sequence[Row], columns: Iterable[Column]) -> pl.DataFrame:
    """Raw rows of one or many requests.

    A category is the same text as any type and in any company: values of several types in a column
    become the text that each is as a category.

    Args:
        rows: that `Rows.read` gave.
        columns: that the model reads; an absent list is null.
    """
    types: dict[str, pl.DataType] = {}
    changed: dict[str, list[Any]] = {}
    for column in columns:
        values = [row.get(column.name) for row in rows]
        if column.separator:
            values = changed[column.name] = [_split(v, column.separator) for v in values]
        entries = values if not column.is_list else _entries(values)
        dtype = pl.Float64() if column.numbers and not column.separator else _type(entries)
        if dtype is None:
            dtype, changed[column.name] = pl.String(), _texts(values)
        types[column.name] = pl.List(dtype) if column.is_list else dtype
    if changed:
        new = (
            dict(zip(changed, values, strict=True))
            for values in zip(*changed.values(), strict=True)
        )
        rows = [{**row, **values} for row, values in zip(rows, new, strict=True)]
    return pl.DataFrame(rows, schema=types)


def _type(values: Iterable[Any]) -> pl.DataType | None:
    """The type of all values; None where there are several, or integers too large for one."""
    kinds = set(map(type, values)) - {NoneType}
    if not kinds:
        return pl.String()
    if len(kinds) > 1:
        return None
    kind = kinds.pop()
    if kind is int and any(v is not None and not -_LARGEST <= v < _LARGEST for v in values):
        return None
    return _TYPES[kind]


def _entries(lists: Iterable[list[Any] | None]) -> list[Any]:
    return [entry for entries in lists if entries for entry in entries]


def _split(value: Any, separator: str) -> Any:
    """A list; text as its pieces that are not empty."""
    if not isinstance(value, str):
        return value
    return [piece for piece in value.split(separator) if piece]


def _texts(values: Sequence[Any]) -> list[Any]:
    """The text that each value, or each entry of its lists, is as a category."""
    if any(isinstance(value, list) for value in values):
        texts = iter(_texts(_entries(values)))
        return [v if v is None else [next(texts) for _ in v] for v in values]
    texts_of: list[Any] = [None] * len(values)
    for kind in set(map(type, values)) - {NoneType}:
        own = [index for index, value in enumerate(values) if type(value) is kind]
        for index, text in zip(own, _canonical([values[i] for i in own]), strict=True):
            texts_of[index] = text
    return texts_of


def _canonical(values: list[Any]) -> Iterator[str | None]:
    """Of one type."""
    if type(values[0]) is int:
        return iter([str(value) for value in values])
    return iter(canonical(pl.Series(values)).to_list())
