"""Reading one Parquet or CSV file as a stream of frames in constant memory.

A reader opens cheaply (Parquet: the footer; CSV: the first block), thus a broken file is named
before any work is done.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from recsys_mtl.data.files import DataFile
from recsys_mtl.errors import UserError, wrong

# Without pre_buffer, a column chunk is read through a buffer of this size instead of at once: a row
# group of a million rows then costs no more memory than the current rows.
BUFFER_BYTES = 1 << 16
CSV_BLOCK_BYTES = 4 << 20


class Reader(Protocol):
    """One file.

    Attributes:
        file: which.
        types: its columns, in order, without partition values; text is large_string.
        has_rows: whether it has any.
    """

    file: DataFile
    types: dict[str, pa.DataType]
    has_rows: bool

    @property
    def num_rows(self) -> int:
        """Number of rows; from the footer for Parquet, counted once for CSV."""
        ...

    def frames(
        self, types: Mapping[str, pa.DataType], chunk_rows: int, skip_rows: int
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Rows in order as (first row's position in the file, frame with at least those columns).

        Whole row groups before `skip_rows` are passed over; the first frame may start before it.
        """
        ...


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values, whatever their encoding: dictionaries decoded, one text type."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.large_list(plain_type(kind.value_type))
    return kind


class ParquetReader:
    """A Parquet file; see `Reader`.

    Raises:
        UserError: the file is truncated, no Parquet, or has two columns of one name.
    """

    def __init__(self, file: DataFile, where: str) -> None:
        self.file = file
        self._where = where
        with self._errors(), self._open() as opened:
            schema = opened.schema_arrow
            self.num_rows: int = opened.metadata.num_rows
        _no_duplicates(schema.names, file, where)
        self.types = {column.name: plain_type(column.type) for column in schema}
        self.has_rows = self.num_rows > 0

    def frames(
        self, types: Mapping[str, pa.DataType], chunk_rows: int, skip_rows: int
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """See `Reader.frames`."""
        with self._errors(), self._open() as opened:
            row, group = 0, 0
            while group < opened.num_row_groups - 1:
                rows = opened.metadata.row_group(group).num_rows
                if row + rows > skip_rows:
                    break
                row, group = row + rows, group + 1
            groups = list(range(group, opened.num_row_groups))
            for batch in opened.iter_batches(chunk_rows, row_groups=groups, columns=[*types]):
                yield row, _frame(batch)
                row += batch.num_rows

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.file.path, pre_buffer=False, buffer_size=BUFFER_BYTES)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise wrong(
                f"cannot read '{self.file.path}'",
                where=self._where,
                expected="a whole Parquet file",
                found=str(error).split("\n", 1)[0],
                fix="write the file again, or leave it out",
            ) from error


class CsvReader:
    """A CSV file with a header; see `Reader`.

    Columns of `types` are read as that type; the types of others are inferred from the first block.
    An empty field is null, in a number also NA, NULL and NaN in any usual spelling.

    Raises:
        UserError: the file is empty or malformed, two columns have one name, or a value of the
            first block does not fit its type (names file, column and value).
    """

    def __init__(self, file: DataFile, where: str, types: Mapping[str, pa.DataType]) -> None:
        self.file = file
        self._where = where
        self._names: list[str] = []
        with self._errors(), self._open({}) as opened:
            self._names = opened.schema.names
        _no_duplicates(self._names, file, where)
        with self._errors(), self._open(types) as opened:
            self.types = {column.name: _csv_type(column.type) for column in opened.schema}
            self.has_rows = any(batch.num_rows for batch in opened)

    @cached_property
    def num_rows(self) -> int:
        """Number of rows, counted."""
        first = {self._names[0]: pa.large_string()}
        with self._errors(), self._open(first, only=True) as opened:
            return sum(batch.num_rows for batch in opened)

    def frames(
        self, types: Mapping[str, pa.DataType], chunk_rows: int, skip_rows: int
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """See `Reader.frames`."""
        row = 0
        with self._errors(), self._open(types, only=True) as opened:
            for batch in opened:
                frame = _frame(batch).with_columns(pl.col(pl.String).replace("", None))
                for chunk in frame.iter_slices(chunk_rows):
                    yield row, chunk
                    row += chunk.height
        self.num_rows = row  # a complete pass has counted them

    def _open(
        self, types: Mapping[str, pa.DataType], *, only: bool = False
    ) -> pacsv.CSVStreamingReader:
        return pacsv.open_csv(
            self.file.path,
            read_options=pacsv.ReadOptions(block_size=CSV_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=dict(types), include_columns=[*types] if only else []
            ),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise self._reading_error(str(error).split("\n", 1)[0]) from error

    def _reading_error(self, message: str) -> UserError:
        """Arrow's message with the column and the value."""
        pattern = r"In CSV column #(\d+):.*conversion error to (\w+).*?: (?:invalid value '(.*)')?"
        match = re.search(pattern, message)
        if match is None or int(match[1]) >= len(self._names):
            what, expected = f"cannot read '{self.file.path}'", "a CSV file with a header, in UTF-8"
            return wrong(what, where=self._where, expected=expected, found=message)
        column, kind, value = self._names[int(match[1])], match[2], match[3]
        if kind in ("string", "large_string", "binary"):
            return wrong(
                f"column '{column}' of '{self.file.path}' is not text in UTF-8",
                where=self._where,
                fix="save the file in UTF-8",
            )
        return wrong(
            f"column '{column}' of '{self.file.path}' cannot be read as {kind}",
            where=self._where,
            expected="a number or an empty field" if kind == "double" else f"{kind} in every row",
            found=message if value is None else f"'{value}'",
            fix="correct the value, or make the feature categorical",
        )


def _csv_type(kind: pa.DataType) -> pa.DataType:
    """The type for a complete file, from that of its first block."""
    if pa.types.is_null(kind) or pa.types.is_binary(kind):
        return pa.large_string()
    return plain_type(kind)


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _no_duplicates(names: list[str], file: DataFile, where: str) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise wrong(
            f"duplicate column name in '{file.path}'",
            where=where,
            expected="every column name once",
            found=", ".join(f"'{name}'" for name in twice),
            fix="rename or drop one of them",
        )
