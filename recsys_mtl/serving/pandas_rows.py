"""Rows as serving receives them (pandas, parsed JSON) to and from polars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.columns.few import FewValues, is_too_long
from recsys_mtl.data.types import READ, read_array, require_dates
from recsys_mtl.errors import UserError, wrong

_SHOWN = 60  # characters of a wrong value
_EXACT = 2**53  # up to it integers are floats too


def to_polars(frame: pd.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Raw rows as polars: None, NaN, NA and NaT are null, an absent list column is all null.

    Args:
        frame: rows; columns that the schema lacks are left out.
        schema: `Predictor.schema()`; a column that it calls text may hold numbers, booleans too.

    Raises:
        UserError: a numeric column holds what is no number, or a list column what is no list.
    """
    columns = []
    for name, dtype in schema.items():
        if name in frame.columns:
            columns.append(_column(name, frame[name], dtype))
            require_dates(columns[-1], f"column '{name}'")
        elif isinstance(dtype, pl.List):
            columns.append(pl.Series(name, [None] * len(frame), dtype=dtype))
    return pl.DataFrame(columns)


def typed(name: str, values: pd.Series) -> pl.Series:
    """A column of the type that pandas or its values say.

    Raises:
        UserError: polars has no such type, or the values are not of one.
    """
    try:
        return pl.from_pandas(pd.DataFrame({name: values}), nan_to_null=True)[name]
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        where, found = f"column '{name}'", f"{values.dtype}: {error}"[:200]
        fix = "give it values of one type, or leave it out"
        raise wrong("cannot be read", where=where, expected=READ, found=found, fix=fix) from error


def few_values(frame: pd.DataFrame) -> dict[str, FewValues]:
    """The columns of a few rows as Python values."""
    return {name: _few(values) for name, values in frame.items() if isinstance(name, str)}


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Predictions or raw rows as pandas; lists stay Python lists, which JSON can represent."""
    return pd.DataFrame(
        {
            column.name: column.to_list() if column.dtype.is_nested() else column.to_pandas()
            for column in frame
        }
    )


def _few(values: pd.Series) -> FewValues:
    dtype = values.dtype
    if isinstance(dtype, pd.StringDtype):
        return FewValues.of([None if pd.isna(text) else text for text in values.tolist()])
    if not isinstance(dtype, np.dtype) or dtype.kind not in "iufbO":
        return FewValues((), frozenset({type(dtype)}))
    if dtype.kind == "f" and dtype.itemsize < 8:
        return FewValues(values.tolist(), frozenset({np.float32}))
    return FewValues.of(values.tolist())


def _column(name: str, values: pd.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(values.dtype, pd.ArrowDtype):
        array = pa.array(values)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        read = read_array(array, None, f"column '{name}'").alias(name)
        if read.dtype != pl.String:
            return read
        values = read.to_pandas()
    if isinstance(dtype, pl.Float64):
        try:
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError, OverflowError):
            raise _no_number(name, values) from None
        return pl.Series(name, numbers, nan_to_null=True)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb":
        return pl.Series(name, values.to_numpy(), nan_to_null=True)  # many times faster than below
    if values.dtype != object:
        return typed(name, values)
    plain = [_plain(value) for value in values]
    try:
        if isinstance(dtype, pl.List) and not any(isinstance(value, str) for value in plain):
            return _lists(name, plain)
        for row, value in enumerate(plain):
            if isinstance(value, list | dict):
                raise _in_row("not a single value", name, value, row)
        return pl.Series(name, _alike(plain))
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise wrong(
            "values that are not of one type",
            where=f"column '{name}'",
            expected=READ,
            found=type(next(value for value in plain if value is not None)).__name__,
        ) from error


def _no_number(name: str, values: pd.Series) -> UserError:
    """The error of the first value that is no number."""
    for row, value in enumerate(values):
        try:
            if value is not pd.NA and value is not None:
                float(value if np.ndim(value) == 0 else "a list")
        except (TypeError, ValueError, OverflowError):
            return _in_row("not a number", name, value, row)
    return wrong("not a column of numbers", where=f"column '{name}'")


def _in_row(what: str, name: str, value: Any, row: int) -> UserError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    entry = f"{shown} in row {row} (counted from 0)"
    return wrong(what, where=f"column '{name}'", found=entry)


def _lists(name: str, values: list[Any]) -> pl.Series:
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, list):
            raise _in_row("not a list", name, value, row)
        if any(isinstance(item, list | dict) for item in value or ()):
            raise _in_row("not a list of single values", name, value, row)
    flat = _alike([item for value in values if value is not None for item in value])
    rest = iter(flat)
    nested = [None if value is None else [next(rest) for _ in value] for value in values]
    known = any(item is not None for item in flat)
    return pl.Series(name, nested, dtype=None if known else pl.List(pl.String()))


def _plain(value: Any) -> Any:
    """A Python value; a missing one is None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [item if isinstance(item, list | dict) else _plain(item) for item in value]
    return None if value is None or value is pd.NA or value is pd.NaT or value != value else value


def _alike(values: list[Any]) -> list[Any]:
    """Values of one type: where types are mixed, the text that each is as a category.

    Whole numbers next to others are floats too, unless one is too large for it; integers that no
    type holds together are texts.
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float} and all(abs(v) <= _EXACT for v in values if isinstance(v, int)):
        return [None if value is None else float(value) for value in values]
    if len(kinds) <= 1 and not _overflow(values):
        return values
    values = [str(value) if is_too_long(value) else value for value in values]
    texts: list[Any] = [None] * len(values)
    for kind in {type(value) for value in values if value is not None}:
        indices = [index for index, value in enumerate(values) if type(value) is kind]
        for index, text in zip(
            indices, canonical(pl.Series([values[p] for p in indices])), strict=True
        ):
            texts[index] = text
    return texts


def _overflow(values: list[Any]) -> bool:
    """Whether they are integers that polars cannot hold in one type."""
    if not any(map(is_too_long, values)):
        return False
    try:
        pl.Series(values)
    except (OverflowError, TypeError):
        return True
    return False
