"""`TableSample`: a bounded sample of a table's rows, with the facts of each column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import polars as pl

from recsys_mtl.columns.facts import ColumnFacts, facts_of
from recsys_mtl.columns.rows import ROW
from recsys_mtl.config.csv import CsvConfig, with_settings
from recsys_mtl.data.csv_header import delimiter_of, read_header
from recsys_mtl.data.files import DataFile, find_files
from recsys_mtl.data.raw import thinned
from recsys_mtl.data.source import Source
from recsys_mtl.errors import wrong
from recsys_mtl.storage.location import Location

SAMPLE_ROWS = 200_000
SAMPLE_CELLS = 10_000_000
CSV_ROWS = 2_000_000
"""Rows of a CSV, which cannot be read from its middle, that the sample is drawn from."""
_SLICES = 20
_DELIMITERS = (";", "\t", "|")
_COMMA_NUMBER = r"^\s*[+-]?\d*,\d+\s*$"
_NUMBER_LIKE = r"^[\s\d.,+-]+$"


@dataclass(frozen=True)
class TableSample:
    """Rows of a table.

    Attributes:
        frame: the rows, in the order of the files.
        unread: columns that cannot be read, and why.
        csv: how the files are written, where that differs from the defaults; None for Parquet.
        read: in words, which rows these are.
        rows: of the table, as far as they are counted.
        complete: whether the sample is the table.
    """

    frame: pl.DataFrame
    unread: dict[str, str]
    csv: CsvConfig | None
    read: str
    rows: int
    complete: bool

    @cached_property
    def columns(self) -> dict[str, ColumnFacts]:
        """The facts of each column that can be read."""
        is_csv = self.csv is not None
        return {
            column.name: facts_of(column, complete=self.complete, csv=is_csv)
            for column in self.frame
        }


def read_sample(table: str, root: Location, *, csv: Sequence[str] = ()) -> TableSample:
    """All rows of a small table; of a large one slices from all over it.

    Args:
        table: file, folder, glob or URI, as `data.path`.
        root: what relative paths start from.
        csv: settings of `data.csv`; without, delimiter and decimal mark are detected.

    Raises:
        UserError: it cannot be read, or has no rows.
    """
    fmt: Literal["auto", "csv"] = "csv" if csv else "auto"
    first = find_files(table, root=root, fmt=fmt, where=table)[0]
    is_csv = first.format == "csv"
    config = with_settings(CsvConfig(), csv)
    if is_csv and config.delimiter is None and config.header:
        config = _with_delimiter(config, first, table)
    texts = frozenset[str]()  # all columns of a CSV are text
    source = Source.open(table, root=root, fmt=fmt, inferred_columns=texts, csv=config, where=table)
    columns = [name for name in source.columns if name not in source.unread]
    if len(columns) <= len(source.unread):
        name, why = next(iter(source.unread.items()))
        fix = "give one table: files of the same columns"
        raise wrong("most columns cannot be read", where=table, found=f"'{name}' ({why})", fix=fix)
    if is_csv and config.header:
        _require_names(columns, table)
    limit = max(1, min(SAMPLE_ROWS, SAMPLE_CELLS // len(columns)))
    frame, read, rows, complete = (_of_csv if is_csv else _of_parquet)(source, columns, limit)
    if is_csv and config.delimiter not in (None, ",") and not csv and _decimal_commas(frame):
        config = with_settings(config, ["decimal=,"])
    if config.decimal == ",":
        frame = frame.with_columns(_with_points(column) for column in frame)
    return TableSample(frame, source.unread, config if is_csv else None, read, rows, complete)


_Sampled = tuple[pl.DataFrame, str, int, bool]


def _of_parquet(source: Source, columns: list[str], limit: int) -> _Sampled:
    rows = source.num_rows
    if rows <= limit:
        return _concat(f for _, f in source.frames(columns)), f"all {rows:,} rows", rows, True
    parts = []
    for start, end in pairwise(rows * index // _SLICES for index in range(_SLICES + 1)):
        last = min(end, start + limit // _SLICES)
        parts += [f for _, f in source.frames(columns, skip_rows=start, end_row=last)]
    frame = _concat(parts)
    return frame, f"{frame.height:,} of {rows:,} rows, {_SLICES} slices", rows, False


def _of_csv(source: Source, columns: list[str], limit: int) -> _Sampled:
    held: list[pl.DataFrame] = []
    height, share, rows, ended = 0, 1.0, 0, True
    for first, frame in source.frames(columns):
        rows = first + frame.height
        held.append(thinned(frame.with_row_index(ROW, first), share, 0))
        height += held[-1].height
        while height > limit:
            share /= 2
            held = [thinned(part, share, 0) for part in held]
            height = sum(part.height for part in held)
        if rows >= CSV_ROWS:
            ended = False
            break
    frame = _concat(held).drop(ROW)
    if ended and share == 1.0:
        return frame, f"all {rows:,} rows", rows, True
    return frame, f"{height:,} of {'' if ended else 'the first '}{rows:,} rows", rows, False


def _concat(frames: Iterator[pl.DataFrame] | list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="vertical_relaxed").rechunk()


def _with_delimiter(config: CsvConfig, file: DataFile, table: str) -> CsvConfig:
    """With the delimiter that the header shows, where it is not the usual one."""
    names = read_header(file, table, config, delimiter_of(file, config), frozenset()).names
    only = next(iter(names))
    likely = [d for d in _DELIMITERS if d in only] if len(names) == 1 else []
    return with_settings(config, [f"delimiter={max(likely, key=only.count)}"] if likely else [])


def _require_names(columns: list[str], table: str) -> None:
    """Raise a `UserError` where numbers are in the place of the columns' names."""
    numbers = pl.Series(columns).cast(pl.Float64, strict=False).is_not_null()
    if numbers.any():
        raise wrong(
            "the first row does not hold the names of the columns",
            where=table,
            expected="a header",
            found=", ".join(f"'{name}'" for name in columns[:6]),
            fix="--csv header=false --csv 'columns=[names of all columns]'",
        )


def _decimal_commas(frame: pl.DataFrame) -> bool:
    texts = (column.drop_nulls() for column in frame if column.dtype == pl.String)
    return any(len(text) and text.str.contains(_COMMA_NUMBER).all() for text in texts)


def _with_points(values: pl.Series) -> pl.Series:
    """Decimal commas as points; a point in such a number is none, as for the loader."""
    if values.dtype != pl.String:
        return values
    plain = values.str.replace_all(".", "?", literal=True).str.replace(",", ".", literal=True)
    return plain.zip_with(values.str.contains(_NUMBER_LIKE).fill_null(False), values)
