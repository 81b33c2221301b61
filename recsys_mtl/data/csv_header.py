"""The first row of a CSV file: the names of its columns, and guesses at how it is written."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import pyarrow as pa

from recsys_mtl.config.csv import CsvConfig
from recsys_mtl.data.files import DataFile
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.storage.location import input_stream

_DELIMITERS = ",;\t|"
_GZIP = b"\x1f\x8b"
_OTHERS = (
    (
        b"PAR1",
        "a Parquet file",
        "set data.format: parquet, or give it a name that ends in .parquet",
    ),
    (b"PK\x03\x04", "an Excel or zip file", "save it as CSV"),
)


@dataclass(frozen=True)
class CsvHeader:
    """What precedes the rows.

    Attributes:
        fields: how many a row has.
        names: name -> position of a field; fields without a name are left out.
        lines: that the rows start after.
    """

    fields: int
    names: dict[str, int]
    lines: int


def read_header(
    file: DataFile, where: str, config: CsvConfig, delimiter: str, wanted: AbstractSet[str]
) -> CsvHeader:
    """Read the names of the columns.

    Spaces around a name are left out, unless `wanted` has them or another column has the rest.

    Args:
        file: which.
        where: the path in the config, for messages.
        config: how it is written.
        delimiter: between fields.
        wanted: columns that will be read.

    Raises:
        UserError: it is empty or not in the encoding, two columns have one name, or none of the
            wanted columns is there and another spelling is likely.
    """
    row, lines = _first_row(file, where, config, delimiter)
    if config.columns is not None:
        if len(config.columns) != len(row):
            _require_delimiter(file, where, row, delimiter)
            raise wrong(
                f"data.csv.columns does not fit '{file.path}'",
                where=where,
                expected=f"{len(row)} names, one for each field of a row",
                found=len(config.columns),
            )
        return CsvHeader(len(row), _positions(config.columns), lines if config.header else 0)
    plain = Counter(name.strip() for name in row)
    names = [n if n in wanted or plain[n.strip()] > 1 else n.strip() for n in row]
    if wanted and not wanted & set(names):
        _require_delimiter(file, where, names, delimiter)
        _require_names(file, where, names)
    require_once(names, file, where)
    positions = _positions(names)
    if not positions:
        raise wrong(f"no column of '{file.path}' has a name", where=where, expected="a header")
    return CsvHeader(len(row), positions, lines)


def delimiter_of(file: DataFile, config: CsvConfig) -> str:
    """What is between two fields."""
    return config.delimiter or ("\t" if ".tsv" in file.path.suffixes[-2:] else ",")


def require_once(names: Iterable[str], file: DataFile, where: str) -> None:
    """Raise a `UserError` where two columns have one name."""
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise wrong(
            f"duplicate column name in '{file.path}'",
            where=where,
            expected="every column name once",
            found=", ".join(f"'{name}'" for name in twice),
            fix="rename or drop one of them"
            + (f" ({_NO_HEADER})" if any(map(_is_number, twice)) else ""),
        )


def compression_of(file: DataFile) -> str | None:
    """How a file is compressed: gzip by its content, others by the suffix."""
    with file.path.open("rb") as stream:
        if stream.read(2) == _GZIP:
            return "gzip"
    return {".bz2": "bz2", ".zst": "zstd"}.get(file.path.suffix.lower())


def not_decoded(file: DataFile, where: str, encoding: str, column: str = "") -> UserError:
    """The error of text in another encoding, with a guess at which."""
    with input_stream(file.path, compression_of(file)) as stream:
        start = stream.read(1 << 16)
    for magic, what, fix in _OTHERS:
        if start.startswith(magic):
            found, expected = what, "a CSV file"
            return wrong(
                f"cannot read '{file.path}'", where=where, expected=expected, found=found, fix=fix
            )
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        guess = "utf-16"
    elif b"\0" in start:
        guess = "utf-16-le"
    else:
        guess = "cp1252" if codecs.lookup(encoding).name == "utf-8" else "utf-8"
    name = "UTF-8" if codecs.lookup(encoding).name == "utf-8" else encoding
    of = f"column '{column}' of " if column else ""
    return wrong(
        f"{of}'{file.path}' is not text in {name}",
        where=where,
        fix=f"save the file in UTF-8, or {setting('encoding', guess)}",
    )


def setting(key: str, value: str) -> str:
    """Where to say how the files are written."""
    shown = value.replace("\t", "tab")
    return f"set data.csv.{key}: '{shown}' (for a saved model: --csv {key}='{shown}')"


_NO_HEADER = "a file without a header needs data.csv: {header: false, columns: [names of all]}"


def _first_row(
    file: DataFile, where: str, config: CsvConfig, delimiter: str
) -> tuple[list[str], int]:
    """The first row that is not empty, and the number of its last line."""
    encoding = "utf-8-sig" if codecs.lookup(config.encoding).name == "utf-8" else config.encoding
    found = "an empty file"
    try:
        with (
            input_stream(file.path, compression_of(file)) as stream,
            io.TextIOWrapper(stream, encoding, "surrogateescape", newline="") as text,
        ):
            reader = csv.reader(text, delimiter=delimiter)
            for row in reader:
                if row:
                    "".join(row).encode()  # fails where a name is in another encoding
                    if "\0" in "".join(row):
                        raise not_decoded(file, where, config.encoding)
                    return row, reader.line_num
    except UnicodeError as error:
        raise not_decoded(file, where, config.encoding) from error
    except (csv.Error, OSError, pa.ArrowException) as error:
        found = str(error).split("\n", 1)[0]
    expected = "a CSV file with a header, in UTF-8"
    raise wrong(f"cannot read '{file.path}'", where=where, expected=expected, found=found)


def _positions(names: list[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names) if name}


def _require_delimiter(file: DataFile, where: str, row: list[str], delimiter: str) -> None:
    """Raise a `UserError` if the only field holds another delimiter."""
    counts = {other: row[0].count(other) for other in _DELIMITERS if other != delimiter}
    likely = max(counts, key=lambda other: counts[other])
    if len(row) == 1 and counts[likely]:
        shown = row[0] if len(row[0]) <= 60 else row[0][:57] + "..."
        raise wrong(
            f"'{file.path}' has a single column",
            where=where,
            expected=f"fields separated by '{delimiter}'".replace("\t", "tab"),
            found=f"'{shown}'",
            fix=setting("delimiter", likely),
        )


def _require_names(file: DataFile, where: str, names: list[str]) -> None:
    """Raise a `UserError` if what should be names is numbers."""
    numbers = [name for name in names if _is_number(name)]
    if numbers:
        raise wrong(
            f"the first row of '{file.path}' does not hold the names of the columns",
            where=where,
            expected="a header",
            found=", ".join(f"'{name}'" for name in names[:6]) + (", …" if names[6:] else ""),
            fix=_NO_HEADER,
        )


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
