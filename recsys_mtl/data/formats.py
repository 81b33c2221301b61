"""Reading one Parquet file as a stream of frames in constant memory, and what a reader is.

A reader opens cheaply (Parquet: the footer; CSV: mostly the first block), thus a broken file is
named before any work is done.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_mtl.data.csv_header import require_once
from recsys_mtl.data.files import SUFFIXES, DataFile
from recsys_mtl.data.types import is_odd_list, plain_type, readable
from recsys_mtl.errors import prefixed, wrong
from recsys_mtl.storage.location import arrow_file
from recsys_mtl.storage.remote_path import RemotePath

# Without pre_buffer, a column chunk is read through a buffer of this size instead of at once: a row
# group of a million rows then costs no more memory than the current rows.
BUFFER_BYTES = 1 << 16
# From a store each request waits for the network: the columns of so many bytes of row groups are
# requested together, and held until their rows are read.
REMOTE_BYTES = 64 << 20


class Reader(Protocol):
    """One file.

    Attributes:
        file: which.
        types: its columns, in order, without partition values; text is large_string.
        has_rows: whether it has any.
        seekable: whether row groups can be read without those before.
    """

    file: DataFile
    types: dict[str, pa.DataType]
    has_rows: bool
    seekable: bool

    @property
    def group_rows(self) -> tuple[int, ...]:
        """Rows of each row group; a CSV file is one."""
        ...

    @property
    def num_rows(self) -> int:
        """Number of rows; from the footer for Parquet, counted once for CSV."""
        ...

    def frames(
        self,
        types: Mapping[str, pa.DataType],
        chunk_rows: int,
        skip_rows: int,
        end_row: int | None = None,
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Rows in order as (first row's position in the file, frame with at least those columns).

        Whole row groups before `skip_rows` and from `end_row` on are passed over; the first frame
        may start before the one and the last may end after the other.
        """
        ...


class ParquetReader:
    """A Parquet file; see `Reader`.

    Raises:
        UserError: the file is truncated, no Parquet, or has two columns of one name.
    """

    seekable = True

    def __init__(self, file: DataFile, where: str) -> None:
        self.file = file
        self._where = where
        with self._errors(), self._open() as opened:
            schema = opened.schema_arrow
            self.num_rows: int = opened.metadata.num_rows
            self._footer = _footer(opened.metadata)
        require_once(schema.names, file, where)
        self.types = {column.name: plain_type(column.type) for column in schema}
        self._odd_lists = {f.name for f in schema if is_odd_list(f.type)}
        self.has_rows = self.num_rows > 0

    @property
    def group_rows(self) -> tuple[int, ...]:
        """See `Reader`."""
        return tuple(rows for rows, _ in self._footer)

    def frames(
        self,
        types: Mapping[str, pa.DataType],
        chunk_rows: int,
        skip_rows: int,
        end_row: int | None = None,
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """See `Reader.frames`.

        Raises:
            UserError: the file vanished, was written anew or is damaged.
        """
        last = self.num_rows if end_row is None else end_row
        ends = list(accumulate(self.group_rows))
        starts = [0, *ends[:-1]]
        groups = [g for g, end in enumerate(ends) if end > skip_rows and starts[g] < last]
        if not groups:
            return
        row = starts[groups[0]]
        with self._errors(types), self._open() as opened:
            if _footer(opened.metadata) != self._footer:
                raise wrong(
                    f"'{self.file.path}' was written anew while it was in use",
                    where=self._where,
                    expected="a file that stays as it was when it was opened",
                    fix="start again, on files that nobody writes meanwhile",
                )
            for batch in self._batches(opened, groups, [*types], chunk_rows):
                yield row, self._decoded(batch, types)
                row += batch.num_rows

    def _open(self) -> pq.ParquetFile:
        source, filesystem = arrow_file(self.file.path)
        local = filesystem is None
        return pq.ParquetFile(
            source,
            filesystem=filesystem,
            pre_buffer=not local,
            buffer_size=BUFFER_BYTES if local else 0,
            arrow_extensions_enabled=True,
        )

    def _batches(
        self, opened: pq.ParquetFile, groups: list[int], columns: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Batches of `rows` rows, the same ones from a disk and from a store."""
        if not isinstance(self.file.path, RemotePath):
            yield from opened.iter_batches(rows, row_groups=groups, columns=columns)
            return
        batches = (
            batch
            for together in _requested(opened.metadata, groups)
            for batch in opened.iter_batches(rows, row_groups=together, columns=columns)
        )
        kinds = opened.schema_arrow
        encoded = any("dictionary" in str(kinds.field(column).type) for column in columns)
        ends = accumulate(self.group_rows[group] for group in groups)
        yield from _cut(batches, rows, [*ends] if encoded else [])

    def _decoded(self, batch: pa.RecordBatch, types: Mapping[str, pa.DataType]) -> pl.DataFrame:
        """The columns in their plain types."""
        where = f"{self._where}: column '{{}}' of '{self.file.path}'"
        arrays = {
            name: readable(array, types[name], where.format(name))
            for name, array in zip(batch.schema.names, batch.columns, strict=True)
        }
        return _frame(pa.RecordBatch.from_pydict(arrays))

    @contextmanager
    def _errors(self, columns: Iterable[str] = ()) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            if isinstance(self.file.path, RemotePath):
                with prefixed(self._where):
                    self.file.path.exists()  # a store that cannot be reached is no damaged file
            odd = ", ".join(f"'{column}'" for column in columns if column in self._odd_lists)
            plainly = f" with plain lists in {odd}" if odd else ""
            named = self.file.path.name.lower().endswith(SUFFIXES["parquet"])
            csv = "" if named else "if it is CSV, set data.format: csv (for a saved model: --csv)"
            raise wrong(
                f"cannot read '{self.file.path}'",
                where=self._where,
                expected="a whole Parquet file",
                found=str(error).split("\n", 1)[0],
                fix=f"write the file again{plainly}, or leave it out" + (csv and f"; {csv}"),
            ) from error


def _footer(metadata: pq.FileMetaData) -> tuple[tuple[int, int], ...]:
    """Rows and bytes of each row group."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return tuple((group.num_rows, group.total_byte_size) for group in groups)


def _requested(metadata: pq.FileMetaData, groups: Iterable[int]) -> Iterator[list[int]]:
    """The row groups by what is requested together."""
    together: list[int] = []
    size = 0
    for group in groups:
        together.append(group)
        size += metadata.row_group(group).total_byte_size
        if size >= REMOTE_BYTES:
            yield together
            together, size = [], 0
    if together:
        yield together


def _cut(
    batches: Iterable[pa.RecordBatch], rows: int, ends: Iterable[int]
) -> Iterator[pa.RecordBatch]:
    """The same rows cut at every multiple of `rows` and at `ends`."""
    held: list[pa.RecordBatch] = []
    row, more = 0, sorted(ends)
    for batch in batches:
        while batch.num_rows:
            start = row - sum(part.num_rows for part in held)
            end = min([*more[bisect_right(more, row) :][:1], (start // rows + 1) * rows])
            held.append(batch.slice(0, end - row))
            batch = batch.slice(held[-1].num_rows)
            row += held[-1].num_rows
            if row == end:
                yield pa.concat_batches(held)
                held = []
    if held:
        yield pa.concat_batches(held)


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame
