"""The rows that are scored: opened, and checked against the model before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa

from recsys_mtl.columns.rows import Rows
from recsys_mtl.config.csv import with_settings
from recsys_mtl.data.files import would_find
from recsys_mtl.data.source import Source
from recsys_mtl.errors import Problem, UserError, did_you_mean
from recsys_mtl.features.registry import csv_columns
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.storage.location import Location


def would_be_read(file: Location, path: str, csv: Sequence[str] = ()) -> bool:
    """Whether `open_rows` would read a file of that name, were it there."""
    return would_find(path, file, root=Path.cwd(), fmt="csv" if csv else "auto")


def open_rows(
    predictor: Predictor, path: str, keep: Sequence[str], csv: Sequence[str] = ()
) -> Source:
    """Open the input and check its columns.

    Args:
        predictor: the model.
        path: file, folder or glob of raw rows.
        keep: columns that are copied to the output.
        csv: settings of CSV files, where they are not written as the model's are; see `Options`.

    Raises:
        UserError: no such input; every column that is missing, of a type that the model does not
            read, or that cannot be kept, together.
    """
    text, numbers = csv_columns(predictor.preprocessor.features)
    source = Source.open(
        path,
        root=Path.cwd(),
        fmt="csv" if csv else "auto",
        text_columns=text,
        number_columns=numbers,
        inferred_columns={*keep},
        csv=with_settings(predictor.config.data.csv, csv),
        where="--input",
        allow_empty=True,
    )
    problems = [
        *_wrong_columns(predictor, source, path),
        *_wrong_kept(predictor, source, keep),
        *source.problems([*predictor.columns, *keep]),
    ]
    if problems:
        raise UserError(*problems)
    return source


def output_schema(predictor: Predictor, source: Source, keep: Iterable[str]) -> pa.Schema:
    """Columns of the output: the kept ones, then the predictions."""
    columns = _empty(source).schema
    kept = {name: columns[name] for name in keep}
    return pl.DataFrame(schema={**kept, **predictor.output_schema()}).to_arrow().schema


def _wrong_columns(predictor: Predictor, source: Source, path: str) -> list[Problem]:
    empty = _empty(source)
    problems = []
    for feature in predictor.preprocessor.features:
        missing = [column for column in feature.columns if column not in source.columns]
        problems += [
            Problem(
                "missing column",
                f"--input {path}",
                f"a column '{column}', which the model reads",
                "none",
                did_you_mean(column, source.columns),
            )
            for column in missing
        ]
        if missing or any(column in source.unread for column in feature.columns):
            continue
        try:
            feature.encode(feature.read(empty), Rows(0, 0))  # refuses a column by its type
        except UserError as error:
            problems += [replace(p, where=f"--input {path}: {p.where}") for p in error.problems]
    return list(dict.fromkeys(problems))


def _wrong_kept(predictor: Predictor, source: Source, keep: Sequence[str]) -> list[Problem]:
    unknown = [
        Problem(f"no column '{column}'", "--keep", fix=did_you_mean(column, source.columns))
        for column in keep
        if column not in source.columns
    ]
    fix = "leave it out, or rename the column of the input"
    clashes = [
        Problem(f"'{column}' is a column of the predictions too", "--keep", fix=fix)
        for column in keep
        if column in predictor.output_schema()
    ]
    twice = [
        Problem(f"'{column}' is named twice", "--keep", fix="name it once")
        for column in dict.fromkeys(keep)
        if keep.count(column) > 1
    ]
    return unknown + clashes + twice


def _empty(source: Source) -> pl.DataFrame:
    """The columns without rows."""
    return pl.DataFrame(pa.schema(list(source.columns.items())).empty_table())
