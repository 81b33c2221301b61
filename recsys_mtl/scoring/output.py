"""Where predictions may be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_mtl.data.source import Source
from recsys_mtl.errors import wrong
from recsys_mtl.scoring.rows import would_be_read
from recsys_mtl.storage.location import Location, arrow_file, relative, same

MARK = b"recsys_mtl"
"""Key of the metadata of every file of predictions; its value is the version."""
_ONE_FILE = (".parquet", ".pq", ".parq")


def is_one_file(output: Location) -> bool:
    """Whether the name is of a file and not of a folder of parts."""
    return output.suffix.lower() in _ONE_FILE


def check_output(output: Location, rows_per_file: int | None) -> None:
    """Check the output's name.

    Raises:
        UserError: it is of another format, or something else exists there.
    """
    where, one_file = str(output), is_one_file(output)
    if output.name.lower().endswith((".csv", ".csv.gz")):
        fix = "give the output a name that ends in .parquet"
        raise wrong("predictions are written as Parquet", where=where, fix=fix)
    if one_file and output.is_dir():
        fix = "give the name of a Parquet file with --output"
        raise wrong("cannot write the output file", where=where, found="a folder", fix=fix)
    if not one_file and output.exists() and not output.is_dir():
        fix = "give a folder, or a name that ends in .parquet, with --output"
        raise wrong("cannot write the output folder", where=where, found="a file", fix=fix)
    if one_file and rows_per_file is not None:
        fix = "give a folder as --output"
        raise wrong(
            "--rows-per-file is for a folder", where="--rows-per-file", found=where, fix=fix
        )


def check_apart(
    output: Location,
    source: Source,
    input: str,
    csv: Sequence[str],
    names: Sequence[str] = ("part-00000.parquet",),
) -> None:
    """Check that the output neither replaces the input nor lies among it, now or later.

    Args:
        output: file or folder.
        source: the input, as it is.
        input: path that it was opened by.
        csv: settings that it was opened with.
        names: of what a folder gets.

    Raises:
        UserError: it does.
    """
    one_file = is_one_file(output)
    files = [reader.file.path for reader in source.readers]
    if one_file and any(same(output, path) for path in files):
        fix = "give another file with --output"
        raise wrong("the output would replace an input file", where=str(output), fix=fix)
    if not one_file and any(relative(p.resolve(), output.resolve()) is not None for p in files):
        fix = "give another folder with --output"
        raise wrong("the output folder holds the input", where=str(output), fix=fix)
    written = [output] if one_file else [output / name for name in names]
    if any(would_be_read(path, input, csv) for path in written):
        fix = "give another place with --output, or a name that starts with _"
        raise wrong("the output would be among the input", where=str(output), found=input, fix=fix)


def check_replaced(output: Location, columns: Iterable[str]) -> None:
    """Check that a file which is there holds earlier predictions.

    Args:
        output: the file, which may not exist.
        columns: names of the predictions of the model.

    Raises:
        UserError: it holds something else.
    """
    earlier = output.with_name(drift_name(output) + ".json")
    if not output.exists() or earlier.exists():
        return
    try:
        where, filesystem = arrow_file(output)
        stored = pq.read_schema(where, filesystem=filesystem)
    except (OSError, pa.ArrowException):
        stored = pa.schema([])
    if MARK not in (stored.metadata or {}) and not set(columns) <= set(stored.names):
        fix = "give another file with --output, or --overwrite"
        raise wrong("no scoring wrote this file", where=str(output), fix=fix)


def drift_name(output: Location) -> str:
    """Name of the report on drift of a file, without suffix."""
    return f"{output.stem}.drift"
