"""`CsvReader`: one CSV file, as people write it, as a stream of frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import cached_property
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv

from recsys_mtl.columns.facts import CODE
from recsys_mtl.columns.numbers import NULL_NUMBERS, parse_numbers
from recsys_mtl.config.csv import CsvConfig
from recsys_mtl.data.csv_header import (
    compression_of,
    delimiter_of,
    not_decoded,
    read_header,
    setting,
)
from recsys_mtl.data.files import DataFile
from recsys_mtl.data.types import is_pattern
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.storage.location import input_stream

BLOCK_BYTES = 4 << 20
_FLOAT, _TEXT = pa.float64(), pa.large_string()
_CONVERSION = re.compile(
    r"In CSV column #(\d+):.*conversion error to (\w+).*?: (?:invalid value '(.*)')?", re.DOTALL
)
_COMMA_NUMBER = r"^(\s*[+-]?\d*),(\d+(?:[eE][+-]?\d+)?\s*)$"


class _MisfitError(Exception):
    """A value that is not of its column's type."""

    def __init__(self, column: str, kind: str, value: str, row: int | None = None) -> None:
        self.column, self.kind, self.value, self.row = column, kind, value, row


class CsvReader:
    """A CSV file; see `Reader`.

    An empty field is null, in a number also a blank one and NA, NULL and NaN in any usual spelling;
    true and false are the numbers 1 and 0. A column without a name, such as the index that pandas
    writes, is not read.

    Args:
        file: which.
        where: the path in the config, for messages.
        config: how it is written.
        text: columns of text.
        numbers: columns of float64; those of `text` too are text with decimal points.
        inferred: columns whose type is inferred from all their values; None: any others. With a
            code such as 01234, or an integer beyond 64 bits, it is text. The rest is text that
            nobody checks.

    Raises:
        UserError: the file is empty or malformed, two columns have one name, or a value of the
            first block does not fit its type (names file, column and value).
    """

    seekable = False

    def __init__(
        self,
        file: DataFile,
        where: str,
        config: CsvConfig,
        *,
        text: AbstractSet[str] = frozenset(),
        numbers: AbstractSet[str] = frozenset(),
        inferred: AbstractSet[str] | None = None,
    ) -> None:
        self.file = file
        self._where, self._config = where, config
        self._pointed = text & numbers if config.decimal == "," else frozenset()
        self._delimiter = delimiter_of(file, config)
        wanted = text | numbers | (inferred or frozenset())
        self._header = read_header(file, where, config, self._delimiter, wanted)
        self.types = {n: _FLOAT if n in numbers - text else _TEXT for n in self._header.names}
        declared = {n for n in self.types if n in text | numbers}
        free = {n for n in self.types if n not in declared and (inferred is None or n in inferred)}
        if free:
            self._infer(free)
        checked = {n: self.types[n] for n in self.types if n in declared | free}
        checked = checked or {next(iter(self.types)): _TEXT}
        self.has_rows = any(frame.height for _, frame in self._frames(checked))

    @cached_property
    def num_rows(self) -> int:
        """Number of rows, counted."""
        first = {next(iter(self.types)): _TEXT}
        return sum(frame.height for _, frame in self._frames(first))

    @property
    def group_rows(self) -> tuple[int, ...]:
        """See `Reader`."""
        return (self.num_rows,)

    def frames(
        self,
        types: Mapping[str, pa.DataType],
        chunk_rows: int,
        skip_rows: int,
        end_row: int | None = None,
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """See `Reader.frames`."""
        row = 0
        for first, frame in self._frames(types):
            row = first + frame.height
            for chunk in frame.iter_slices(chunk_rows):
                yield first, chunk
                first += chunk.height
        self.num_rows = row  # a complete pass has counted them

    def _infer(self, columns: AbstractSet[str]) -> None:
        """Give columns the type that all their values have; with a `CODE` it is text.

        The first block proposes it; a value that does not fit widens it.
        """
        with self._errors(), self._open(dict.fromkeys(columns)) as opened:
            self.types |= {self._names[f.name]: _complete(f.type) for f in opened.schema}
        while typed := {n: k for n in columns if (k := self.types[n]) != _TEXT}:
            try:
                self.num_rows = sum(frame.height for _, frame in self._blocks(typed, codes=False))
                return
            except _MisfitError as misfit:
                self.types[misfit.column] = _wider(self.types[misfit.column], misfit.value)

    def _frames(self, types: Mapping[str, pa.DataType]) -> Iterator[tuple[int, pl.DataFrame]]:
        """(first row, frame) of each block."""
        try:
            yield from self._blocks(types)
        except _MisfitError as misfit:
            raise self._misfit_error(misfit) from misfit

    def _blocks(
        self, types: Mapping[str, pa.DataType], *, codes: bool = True
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """The same, but a value that is not of its column's type raises a `_MisfitError`.

        Args:
            types: of the columns.
            codes: whether a `CODE` may be a number, as where types are known to fit.
        """
        row = 0
        texts = {
            n for n, k in types.items() if k == _FLOAT or (pa.types.is_integer(k) and not codes)
        }
        stored = {name: _TEXT if name in texts else kind for name, kind in types.items()}
        with self._errors(), self._open(stored) as opened:
            for batch in opened:
                frame = cast(pl.DataFrame, pl.from_arrow(batch))
                frame.columns = list(types)
                columns = [self._column(frame[n], k, row, codes) for n, k in types.items()]
                yield row, pl.DataFrame(columns)
                row += frame.height

    def _column(
        self, values: pl.Series, kind: pa.DataType, first_row: int, codes: bool
    ) -> pl.Series:
        """A column of one block, as it is written, in its type."""
        if values.dtype != pl.String or is_pattern(values.name):
            return values
        if self._config.null_values:
            missing = values.str.strip_chars().is_in(self._config.null_values).fill_null(False)
            values = values.zip_with(~missing, pl.repeat(None, 1, dtype=pl.String, eager=True))
        if values.name in self._pointed:
            values = values.str.replace(_COMMA_NUMBER, "${1}.${2}")
        if pa.types.is_integer(kind):
            return _integers(values)
        if kind != _FLOAT:
            return values.replace("", None)
        if not codes and (found := values.str.strip_chars().str.contains(CODE)).any():
            raise _MisfitError(values.name, "double", values.filter(found)[0])
        plain = values
        if self._config.decimal == ",":  # a point is a mistake then, not another decimal mark
            plain = values.str.replace_all(".", "?", literal=True).str.replace(
                ",", ".", literal=True
            )
        numbers, bad = parse_numbers(plain, NULL_NUMBERS)
        if bad is not None:
            raise _MisfitError(values.name, "double", values[bad], first_row + bad)
        return numbers

    @cached_property
    def _names(self) -> dict[str, str]:
        """What arrow calls a column -> its name."""
        return {str(index): name for name, index in self._header.names.items()}

    def _open(self, types: Mapping[str, pa.DataType | None]) -> pacsv.CSVStreamingReader:
        """Open the rows with these columns only; None lets arrow choose the type."""
        arrow = {str(self._header.names[name]): kind for name, kind in types.items()}
        return pacsv.open_csv(
            input_stream(self.file.path, compression_of(self.file)),
            read_options=pacsv.ReadOptions(
                block_size=BLOCK_BYTES,
                column_names=[str(index) for index in range(self._header.fields)],
                skip_rows=self._header.lines,
                encoding=self._config.encoding,
            ),
            parse_options=pacsv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types={name: kind for name, kind in arrow.items() if kind is not None},
                include_columns=list(arrow),
                decimal_point=self._config.decimal,
                null_values=[*NULL_NUMBERS, *self._config.null_values],
            ),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError as error:
            raise not_decoded(self.file, self._where, self._config.encoding) from error
        except (pa.ArrowException, OSError) as error:
            raise self._reading_error(str(error)) from error

    def _reading_error(self, message: str) -> Exception:
        """Arrow's message with the column and the value."""
        match = _CONVERSION.search(message)
        if match is None or match[1] not in self._names:
            what, expected = f"cannot read '{self.file.path}'", "a CSV file with a header, in UTF-8"
            found = message.split("\n", 1)[0]
            return wrong(what, where=self._where, expected=expected, found=found)
        column, kind, value = self._names[match[1]], match[2], match[3] or ""
        if kind in ("string", "large_string", "binary"):
            return not_decoded(self.file, self._where, self._config.encoding, column)
        return _MisfitError(column, kind, value)

    def _misfit_error(self, misfit: _MisfitError) -> UserError:
        value, number = misfit.value, misfit.kind == "double"
        fix = "correct the value, or make the feature categorical"
        if (
            number
            and self._config.decimal == "."
            and re.fullmatch(r"[+-]?[\d.]*,\d+", value.strip())
        ):
            fix = f"if the comma is the decimal mark, {setting('decimal', ',')}"
        elif (
            number and self._config.decimal == "," and re.fullmatch(r"[+-]?\d*\.\d+", value.strip())
        ):
            fix = f"if the point is the decimal mark, {setting('decimal', '.')}"
        elif number and not re.search(r"\d", value):
            fix = "correct the value, or make the feature categorical; if it means missing, name it"
            fix += " in null_values of the feature or of data.csv"
        at = "" if misfit.row is None else f" in row {misfit.row} (counted from 0)"
        return wrong(
            f"column '{misfit.column}' of '{self.file.path}' cannot be read as {misfit.kind}",
            where=self._where,
            expected="a number or an empty field" if number else f"{misfit.kind} in every row",
            found=f"'{value}'{at}",
            fix=fix,
        )


def _complete(kind: pa.DataType) -> pa.DataType:
    """The type for a complete file, from that of its first block."""
    text = pa.types.is_null(kind) or pa.types.is_binary(kind) or pa.types.is_string(kind)
    return _TEXT if text else kind


def _integers(texts: pl.Series) -> pl.Series:
    """Int64 of each text; one that is not written so, as 01234, raises a `_MisfitError`."""
    known = texts.set(texts.is_in(NULL_NUMBERS), None)
    for plain in (known, known.str.strip_chars()):
        numbers = plain.cast(pl.Int64, strict=False)
        odd = numbers.cast(pl.String).ne_missing(plain)
        if not odd.any():
            return numbers
    raise _MisfitError(texts.name, "int64", texts.filter(odd)[0])


def _wider(kind: pa.DataType, value: str) -> pa.DataType:
    """The type of a column that has this value too; a `CODE` is text."""
    digits = re.fullmatch(r"[+-]?\d+", value.strip())
    return _FLOAT if pa.types.is_integer(kind) and not digits else _TEXT
