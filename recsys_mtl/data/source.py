"""`Source`: all rows of some Parquet or CSV files as one table that is read as a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa

from recsys_mtl.config.csv import CsvConfig
from recsys_mtl.data.csv import CsvReader
from recsys_mtl.data.files import DataFile, find_files, fingerprint
from recsys_mtl.data.formats import ParquetReader, Reader
from recsys_mtl.errors import UserError, did_you_mean, wrong


@dataclass(frozen=True)
class Source:
    """Rows of files of one schema, in the order of the sorted file names.

    Attributes:
        readers: one a file.
        columns: name → type of every column, partition columns last. Text of any encoding is
            large_string, integers and floats have the widest of the files' types.
        where: the path in the config, for messages.
    """

    readers: tuple[Reader, ...]
    columns: dict[str, pa.DataType]
    where: str

    @staticmethod
    def open(
        paths: str | list[str],
        *,
        root: Path,
        fmt: Literal["auto", "parquet", "csv"] = "auto",
        text_columns: AbstractSet[str] = frozenset(),
        number_columns: AbstractSet[str] = frozenset(),
        inferred_columns: AbstractSet[str] | None = None,
        csv: CsvConfig = CsvConfig(),  # noqa: B008 - frozen
        where: str = "data.path",
    ) -> Source:
        """Find the files, and check every one's footer or header and that they fit together.

        Args:
            paths: file, folder (hive partitions become columns), glob, or a list of those.
            root: folder that relative paths start from.
            fmt: format of the files; auto goes by the suffix.
            text_columns: columns of a CSV that are text, whatever their values.
            number_columns: columns of a CSV that are float64; those of `text_columns` too are text
                whose numbers have a decimal point.
            inferred_columns: columns of a CSV whose type all their values have; None: the rest.
            csv: how CSV files are written.
            where: the path in the config, for messages.

        Raises:
            UserError: no such file, a broken file, no rows, a duplicate column, or files that
                differ in their columns; and for CSV a value that is not of its column's type.
        """
        files = find_files(paths, root=root, fmt=fmt, where=where)
        is_csv = files[0].format == "csv"

        def reader(file: DataFile) -> Reader:
            if not is_csv:
                return ParquetReader(file, where)
            columns = {"text": text_columns, "numbers": number_columns}
            return CsvReader(file, where, csv, **columns, inferred=inferred_columns)

        readers = tuple(map(reader, files))
        if not any(reader.has_rows for reader in readers):
            names = f"'{files[0].path}'" + (f" and {len(files) - 1} more" if files[1:] else "")
            fix = "give files with rows"
            raise wrong(f"no rows in {names}", where=where, expected="at least one row", fix=fix)
        keys = {key: _partition_type(key, files) for file in files for key in file.partitions}
        columns, *others = (
            reader.types
            | {key: keys[key] for key in reader.file.partitions if key not in reader.types}
            for reader in readers
        )
        for file, other in zip(files[1:], others, strict=True):
            columns = _merged((files[0], columns), (file, other), loose=is_csv, where=where)
        return Source(readers, columns, where)

    @property
    def num_rows(self) -> int:
        """Number of rows; CSV files are read once to count them."""
        return sum(reader.num_rows for reader in self.readers)

    def fingerprint(self) -> str:
        """Hex SHA-256 of the files; see `recsys_mtl.data.files.fingerprint`."""
        return fingerprint(reader.file for reader in self.readers)

    def frames(
        self, columns: list[str], *, chunk_rows: int = 131_072, skip_rows: int = 0
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Stream the rows, always in the same order, in constant memory.

        Args:
            columns: at least one, in the order the frames shall have.
            chunk_rows: most rows of a frame; the ends of files and CSV blocks make shorter ones.
            skip_rows: rows to leave out at the start; complete files and row groups are not read.

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
        return self._frames(columns, chunk_rows, skip_rows)

    def _frames(
        self, columns: list[str], chunk_rows: int, skip_rows: int
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        table = pa.schema({column: self.columns[column] for column in columns}).empty_table()
        schema = pl.DataFrame(table).schema
        start = 0  # position of the file's first row
        for reader in self.readers:
            if start < skip_rows and start + reader.num_rows <= skip_rows:
                start += reader.num_rows
                continue
            stored = [c for c in columns if c in reader.types] or [next(iter(reader.types))]
            types = {column: self.columns[column] for column in stored}
            cast = [
                (pl.col(c) if c in reader.types else pl.lit(reader.file.partitions[c]))
                .cast(kind)
                .alias(c)
                for c, kind in schema.items()
            ]
            row = start
            for offset, frame in reader.frames(types, chunk_rows, max(skip_rows - start, 0)):
                row = start + offset + frame.height
                late = max(skip_rows - start - offset, 0)
                if late < frame.height:
                    yield (
                        start + offset + late,
                        frame.slice(late).with_columns(cast).select(columns),
                    )
            start = row


def _partition_type(key: str, files: tuple[DataFile, ...]) -> pa.DataType:
    """int64 where every value of a partition column is an integer, else text."""
    values = [file.partitions.get(key) for file in files]
    integers = all(re.fullmatch(r"-?\d{1,18}", value) for value in values if value is not None)
    return pa.int64() if integers else pa.large_string()


def _merged(
    first: tuple[DataFile, dict[str, pa.DataType]],
    second: tuple[DataFile, dict[str, pa.DataType]],
    *,
    loose: bool,
    where: str,
) -> dict[str, pa.DataType]:
    """The columns of both files, each of a type that holds either's values."""
    names = list(dict.fromkeys(chain(first[1], second[1])))
    merged = {}
    differing = []
    for name in names:
        a, b = first[1].get(name), second[1].get(name)
        kind = None if a is None or b is None else _common_type(a, b, loose=loose)
        if kind is None:
            differing.append(f"'{name}' ({a or 'missing'} / {b or 'missing'})")
        merged[name] = kind
    if differing:
        raise _mixed(first[0], second[0], differing, where)
    return merged


def _common_type(a: pa.DataType, b: pa.DataType, *, loose: bool) -> pa.DataType | None:
    """The type that holds values of both, or None if they do not belong together.

    Of one family: integers, floats, text, times, lists of those; a column that is all null in one
    file takes the other's type. Loose, for types inferred from CSV: any numbers too, and text holds
    whatever else.
    """
    numbers = all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in (a, b))
    if a == b:
        return a
    if (
        _family(a) == _family(b)
        or pa.types.is_null(a)
        or pa.types.is_null(b)
        or (loose and numbers)
    ):
        pair = [pa.schema([("x", kind)]) for kind in (a, b)]
        return pa.unify_schemas(pair, promote_options="permissive").field("x").type
    return pa.large_string() if loose else None


def _family(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_timestamp(kind):
        return f"timestamp {kind.tz}"
    if pa.types.is_large_list(kind):
        return f"list of {_family(kind.value_type)}"
    return str(kind)


def _mixed(first: DataFile, second: DataFile, differing: list[str], where: str) -> UserError:
    shown = ", ".join(differing[:8]) + (f" and {len(differing) - 8} more" if differing[8:] else "")
    return wrong(
        f"mixed schemas: '{first.path}' and '{second.path}' differ",
        where=where,
        expected="the same columns and types in every file",
        found=shown,
        fix="rewrite one of them, or narrow the path",
    )
