"""`Source`: all rows of some Parquet or CSV files as one table that is read as a stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import polars as pl
import pyarrow as pa

from recsys_mtl.config.csv import CsvConfig
from recsys_mtl.data.csv import CsvReader
from recsys_mtl.data.files import DataFile, find_files, fingerprint
from recsys_mtl.data.formats import ParquetReader, Reader
from recsys_mtl.data.types import READ, Role, are_numbers, common_type, converted, is_pattern
from recsys_mtl.errors import Problem, UserError, did_you_mean, wrong
from recsys_mtl.storage.location import Location
from recsys_mtl.storage.remote_path import RemotePath

_NS = pa.timestamp("ns")
_SHOWN = 8
_OPENED_TOGETHER = 16


@dataclass(frozen=True)
class Source:
    """Rows of files of one schema, in the order of the sorted file names.

    Attributes:
        readers: one a file.
        columns: name → type of every column of any file, partition columns last; see
            `recsys_mtl.data.types.common_type`.
        unread: the types of those that cannot be read, as files lack them or have types that do not
            fit together, or as the type is none that is read; no harm where nobody reads them.
        where: the path in the config, for messages.
    """

    readers: tuple[Reader, ...]
    columns: dict[str, pa.DataType]
    unread: dict[str, str]
    where: str

    @staticmethod
    def open(
        paths: str | list[str],
        *,
        root: Location,
        fmt: Literal["auto", "parquet", "csv"] = "auto",
        text_columns: AbstractSet[str] = frozenset(),
        number_columns: AbstractSet[str] = frozenset(),
        inferred_columns: AbstractSet[str] | None = None,
        csv: CsvConfig = CsvConfig(),  # noqa: B008 - frozen
        where: str = "data.path",
        allow_empty: bool = False,
    ) -> Source:
        """Find the files, check every one's footer or header, and find types that hold all files.

        Args:
            paths: file, folder (hive partitions become columns), glob, or a list of those.
            root: folder that relative paths start from.
            fmt: format of the files; auto goes by the suffix.
            text_columns: categories: text in a CSV, and where types of Parquet files differ.
            number_columns: numbers: float64 likewise; those of `text_columns` too are text whose
                numbers have a decimal point.
            inferred_columns: columns of a CSV whose type all their values have; None: the rest.
            csv: how CSV files are written.
            where: the path in the config, for messages.
            allow_empty: whether files without any row will do.

        Raises:
            UserError: no such file, a broken file, no rows, or a duplicate column; and for CSV a
                value that is not of its column's type.
        """
        files = find_files(paths, root=root, fmt=fmt, where=where)
        is_csv = files[0].format == "csv"

        def reader(file: DataFile) -> Reader:
            if not is_csv:
                return ParquetReader(file, where)
            columns = {"text": text_columns, "numbers": number_columns}
            return CsvReader(file, where, csv, **columns, inferred=inferred_columns)

        readers = _each(reader, files)
        if not (allow_empty or any(reader.has_rows for reader in readers)):
            names = f"'{files[0].path}'" + (f" and {len(files) - 1} more" if files[1:] else "")
            fix = "give files with rows"
            raise wrong(f"no rows in {names}", where=where, expected="at least one row", fix=fix)
        keys = {key: _partition_type(key, files) for file in files for key in file.partitions}
        tables = [
            reader.types
            | {key: keys[key] for key in reader.file.partitions if key not in reader.types}
            for reader in readers
        ]
        roles: dict[str, Role] = dict.fromkeys(number_columns, "numbers")
        roles |= dict.fromkeys(text_columns, "text")
        columns: dict[str, pa.DataType] = {}
        unread = {}
        for name in dict.fromkeys(chain(*tables)):
            kinds = [table.get(name) for table in tables]
            kind = None if None in kinds else _common(kinds, roles.get(name), csv=is_csv)
            columns[name] = pa.null() if kind is None else kind
            if kind is None:
                unread[name] = _difference(files, kinds)
            elif is_pattern(name):
                unread[name] = "polars takes the name for a pattern"
            elif not name and not is_csv:
                unread[name] = "it has no name"
        return Source(readers, columns, unread, where)

    def problems(self, columns: Iterable[str]) -> list[Problem]:
        """What keeps these columns from being read, in one problem; empty where nothing does."""
        shown = [f"'{c}' ({self.unread[c]})" for c in dict.fromkeys(columns) if c in self.unread]
        if not shown:
            return []
        more = f" and {len(shown) - _SHOWN} more" if shown[_SHOWN:] else ""
        return [
            Problem(
                "columns that cannot be read",
                self.where,
                f"one type in every file: {READ}",
                ", ".join(shown[:_SHOWN]) + more,
                "write the files again, narrow the path, or do without the column",
            )
        ]

    @property
    def num_rows(self) -> int:
        """Number of rows; CSV files are read once to count them."""
        return sum(reader.num_rows for reader in self.readers)

    def fingerprint(self) -> str:
        """Hex SHA-256 of the files; see `recsys_mtl.data.files.fingerprint`."""
        return fingerprint(reader.file for reader in self.readers)

    def frames(
        self,
        columns: list[str],
        *,
        chunk_rows: int = 131_072,
        skip_rows: int = 0,
        end_row: int | None = None,
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Stream the rows, always in the same order, in constant memory.

        Args:
            columns: at least one, in the order the frames shall have.
            chunk_rows: most rows of a frame; the ends of files and CSV blocks make shorter ones.
            skip_rows: rows to leave out at the start; complete files and row groups are not read.
            end_row: the first row to leave out again, likewise; None: up to the end.

        Returns:
            (position of the frame's first row in the source, frame) pairs.

        Raises:
            UserError: an unknown column; while streaming, a damaged file or an unreadable value.
        """
        assert columns, "at least one column"
        for column in columns:
            if column not in self.columns:
                fix = did_you_mean(column, self.columns)
                raise wrong(f"missing column '{column}'", where=self.where, fix=fix)
        problems = self.problems(columns)
        if problems:
            raise UserError(*problems)
        return self._frames(columns, chunk_rows, skip_rows, end_row)

    def _frames(
        self, columns: list[str], chunk_rows: int, skip_rows: int, end_row: int | None
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        table = pa.schema({column: self.columns[column] for column in columns}).empty_table()
        schema = pl.DataFrame(table).schema
        parquet = [r.types for r in self.readers if r.file.format == "parquet"]  # CSV stays text
        numbers = {c for types in parquet for c in columns if c in types and are_numbers(types[c])}
        start = 0  # position of the file's first row
        for reader in self.readers:
            if end_row is not None and start >= end_row:
                return
            if start < skip_rows and start + reader.num_rows <= skip_rows:
                start += reader.num_rows
                continue
            readable = (c for c in reader.types if c not in self.unread)
            stored = [c for c in columns if c in reader.types] or [next(readable)]
            types = {column: self.columns[column] for column in stored}
            row = start
            end = None if end_row is None else end_row - start
            skip = max(skip_rows - start, 0)
            for offset, frame in reader.frames(types, chunk_rows, skip, end):
                row = start + offset + frame.height
                late = max(skip - offset, 0)
                kept = frame.height if end is None else min(frame.height, end - offset)
                if late < kept:
                    rows = frame.slice(late, kept - late)
                    yield start + offset + late, self._unified(reader, rows, schema, numbers)
                if kept < frame.height:
                    return
            start = row

    def _unified(
        self, reader: Reader, rows: pl.DataFrame, schema: pl.Schema, numbers: Container[str]
    ) -> pl.DataFrame:
        """A file's rows with the columns and types of all files."""
        columns = []
        for name, kind in schema.items():
            if name not in reader.types:
                value = pl.Series(name, [reader.file.partitions[name]], dtype=pl.String)
                columns.append(value.new_from_index(0, rows.height).cast(kind))
                continue
            try:
                columns.append(converted(rows[name], kind, numbers=name in numbers))
            except pl.exceptions.PolarsError as error:
                raise wrong(
                    f"column '{name}' of '{reader.file.path}' cannot be read as {kind}",
                    where=self.where,
                    found=error,
                    fix="write the file with the type of the others",
                ) from error
        return pl.DataFrame(columns)


def _each(reader: Callable[[DataFile], Reader], files: tuple[DataFile, ...]) -> tuple[Reader, ...]:
    """A reader of each file; those of a store are opened at the same time."""
    if not any(isinstance(file.path, RemotePath) for file in files):
        return tuple(map(reader, files))
    with ThreadPoolExecutor(_OPENED_TOGETHER) as pool:
        return tuple(pool.map(reader, files))


def _partition_type(key: str, files: tuple[DataFile, ...]) -> pa.DataType:
    """int64 where every value of a partition column is an integer, else text."""
    values = [file.partitions.get(key) for file in files]
    integers = all(re.fullmatch(r"-?\d{1,18}", value) for value in values if value is not None)
    return pa.int64() if integers else pa.large_string()


def _common(kinds: list[pa.DataType], role: Role, *, csv: bool) -> pa.DataType | None:
    """The type that holds a column of all files."""
    if not csv:
        return common_type(kinds, role)
    kind = common_type(kinds, None)  # inferred, so that text holds what differs
    booleans = pa.bool_() in kinds and kind != pa.bool_()
    if kind is None or booleans:
        return pa.large_string()
    return pa.timestamp("ns", kind.tz) if pa.types.is_timestamp(kind) and _NS in kinds else kind


def _difference(files: tuple[DataFile, ...], kinds: list[pa.DataType | None]) -> str:
    """The types of two files that do not fit together, or the type of all."""
    known = [(file, kind) for file, kind in zip(files, kinds, strict=True) if kind != pa.null()]
    (first, kind), *others = sorted(known, key=lambda pair: pair[1] is None)
    for file, other in others:
        if other != kind:
            return f"{kind} in '{first.path}', {other or 'missing'} in '{file.path}'"
    return str(kind)
