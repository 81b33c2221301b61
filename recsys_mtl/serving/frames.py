"""Data frames of other libraries to polars and back."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from recsys_mtl.columns.canonical import canonical, require_category
from recsys_mtl.errors import wrong
from recsys_mtl.serving import pandas_rows

Frame: TypeAlias = (
    pl.DataFrame | pl.LazyFrame | pd.DataFrame | pa.Table | Mapping[str, Any] | NDArray[Any]
)
"""Rows: polars, pandas, Arrow, a mapping from column to values, or (R, C) numbers: x0, x1 …"""
_NOT_ALIKE = (pa.ArrowException, pl.exceptions.PolarsError, TypeError)
_EXPECTED = "a polars, pandas or Arrow table, a dict from column to values, or numbers (R, C)"


def as_polars(
    rows: Any,
    where: str,
    schema: Mapping[str, pl.DataType] | None = None,
    wanted: Container[str] | None = None,
) -> pl.DataFrame:
    """Rows as polars.

    Args:
        rows: a `Frame`.
        where: what they are called in messages.
        schema: of a fitted model's columns; pandas' columns are then read as serving reads them.
        wanted: columns that are read; pandas' others are left out, whatever they hold. None: all.

    Raises:
        UserError: it is no table, or its values are not of one type by column.
    """
    if isinstance(rows, pl.DataFrame):
        return rows
    if isinstance(rows, pl.LazyFrame):
        try:
            return rows.collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise wrong("cannot be read", where=where, found=str(error)[:200]) from error
    if hasattr(rows, "toarray"):
        raise wrong("a sparse matrix is no table", where=where, fix="give X.toarray()")
    try:
        if isinstance(rows, pd.DataFrame):
            return _of_pandas(rows, where, schema or {}, wanted)
        if isinstance(rows, pa.Table | pa.RecordBatch):
            return pl.DataFrame(pl.from_arrow(rows))
        if isinstance(rows, Mapping):
            return pl.DataFrame(dict(rows))
    except _NOT_ALIKE as error:
        fix = "give every column values of one type"
        raise wrong("not a table", where=where, found=str(error)[:200], fix=fix) from error
    if is_array(rows):
        return _of_numbers(rows, where)
    raise wrong("not a table", where=where, expected=_EXPECTED, found=type(rows).__name__)


def is_array(rows: Any) -> bool:
    """Whether it is a matrix: an array, or what can become one, such as a tensor."""
    tables = pl.DataFrame | pd.DataFrame | pa.Table | pa.RecordBatch
    return hasattr(rows, "__array__") and not isinstance(rows, tables)


def _of_numbers(matrix: Any, where: str) -> pl.DataFrame:
    """Columns x0, x1 …; NaN is null.

    Raises:
        UserError: it is not (R, C) real numbers.
    """
    try:
        rows = np.asarray(matrix)
        rows = rows if rows.dtype.kind in "iuc" else rows.astype(np.float64)  # exact ids
    except (TypeError, ValueError, RuntimeError) as error:  # texts; a tensor with a gradient
        expected, found = "numbers (R, C)", str(error)[:200]
        raise wrong("not a table", where=where, expected=expected, found=found) from error
    if np.iscomplexobj(rows):
        raise wrong("Complex data not supported", where=where, expected="numbers (R, C)")
    if rows.ndim != 2:
        fix = "Reshape your data: X.reshape(-1, 1) if it is one feature"
        raise wrong("not a table", where=where, expected="(R, C)", found=str(rows.shape), fix=fix)
    if not rows.shape[1]:
        shape = f"0 feature(s) (shape={rows.shape}) while a minimum of 1 is required."
        raise wrong("no columns", where=where, found=shape)
    numbers = np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))
    names = [f"x{index}" for index in range(rows.shape[1])]
    return pl.DataFrame(numbers, schema=names, orient="row", nan_to_null=True)


def _of_pandas(
    rows: pd.DataFrame,
    where: str,
    schema: Mapping[str, pl.DataType],
    wanted: Container[str] | None,
) -> pl.DataFrame:
    """Columns of the schema as serving reads them, and the others after them."""
    frame = rows.set_axis([str(name) for name in rows.columns], axis=1).reset_index(drop=True)
    if not frame.columns.is_unique:
        found = str(frame.columns[frame.columns.duplicated()][0])
        raise wrong("two columns of one name", where=where, found=found)
    there = {name: dtype for name, dtype in schema.items() if name in frame.columns}
    known = pandas_rows.to_polars(frame, there)
    names = [n for n in frame.columns if n not in schema and (wanted is None or n in wanted)]
    columns = [*known, *(pandas_rows.typed(name, frame[name]) for name in names)]
    return pl.DataFrame(columns or None, height=len(frame))


def like(rows: Any, frame: pl.DataFrame) -> Any:
    """A frame as a table of the same library as `rows`; pandas keeps its index."""
    if isinstance(rows, pd.DataFrame):
        return pandas_rows.to_pandas(frame).set_axis(rows.index, axis=0)
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return frame.to_arrow()
    if isinstance(rows, Mapping):
        return frame.to_dict(as_series=False)
    return frame.to_numpy() if is_array(rows) else frame


def with_labels(rows: pl.DataFrame, y: Any, columns: Sequence[str]) -> pl.DataFrame:
    """Rows with their labels.

    Args:
        rows: R of them.
        y: None where they are columns of `rows`; a `Frame`, or values by label: (R,), or (R, T) in
            the order of the tasks.
        columns: the tasks' label columns.

    Raises:
        UserError: there are not as many labels as rows, or not as many columns as tasks; a table
            has other columns, or other values of a label that `rows` has too.
    """
    if y is None:
        return rows
    if isinstance(y, list) or is_array(y):
        values = _label_values(y)
        if values.ndim != 2:
            raise wrong("labels", where="y", expected="(R,) or (R, T)", found=str(values.shape))
        if values.shape[1] != len(columns):
            expected = f"a column for each of {', '.join(columns)}"
            raise wrong("labels", where="y", expected=expected, found=f"{values.shape[1]} columns")
        labels = pl.DataFrame([_series(name, values[:, k]) for k, name in enumerate(columns)])
    else:
        labels = as_polars(y, "y")
        if others := [name for name in labels.columns if name not in columns]:
            raise wrong("columns that no task names", where="y", found=", ".join(others),
                        fix="leave them out, or give them in X")  # fmt: skip
    if labels.height != rows.height:
        raise wrong("labels", where="y", expected=f"{rows.height} rows", found=str(labels.height))
    for name in filter(rows.columns.__contains__, labels.columns):
        for label in (rows[name], labels[name]):
            require_category(label, f"label '{name}'")
        if not canonical(rows[name]).equals(canonical(labels[name])):
            fix = "leave it out of X, or rename it there"
            raise wrong(f"other values of '{name}' than in X", where="y", fix=fix)
    return rows.with_columns(labels)


def _label_values(y: Any) -> NDArray[Any]:
    """(R, T) values; (R,) are of one task."""
    if isinstance(y, pd.Series):
        y = y.to_numpy(dtype=object, na_value=None)
    elif isinstance(y, pl.Series):
        y = y.to_list()
    values = np.asarray(y, dtype=object if isinstance(y, list) else None)
    return values[:, None] if values.ndim == 1 else values


def _series(name: str, values: NDArray[Any]) -> pl.Series:
    """A column; None and NaN are null.

    Raises:
        UserError: the values are not of one type.
    """
    plain = [None if value is None or value != value else value for value in values.tolist()]
    try:
        return pl.Series(name, plain)
    except _NOT_ALIKE as error:
        raise wrong("labels of several types", where="y", found=str(error)[:200]) from error


def with_weight(rows: pl.DataFrame, weight: Any, name: str) -> pl.DataFrame:
    """Rows with a column of weights; 1 where there are none.

    Raises:
        UserError: there are not as many weights as rows, or all are zero.
    """
    where, expected = "sample_weight", f"{rows.height} numbers"
    try:
        values = np.ones(rows.height) if weight is None else np.asarray(weight, np.float64)
    except (TypeError, ValueError) as error:
        found = str(error)[:200]
        raise wrong("row weights", where=where, expected=expected, found=found) from error
    if values.shape != (rows.height,):
        raise wrong("row weights", where=where, expected=expected, found=f"shape {values.shape}")
    if len(values) and not values.any():
        fix = "leave it out, or give rows that count a weight above zero"
        raise wrong("every weight is zero", where=where, fix=fix)
    return rows.with_columns(pl.Series(name, values))
