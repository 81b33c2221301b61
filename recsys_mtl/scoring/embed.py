"""The two sides of a retrieval task as Parquet: queries of rows, and vectors of items.

OUTPUT/users.parquet   `id`, and `vector`: a unit query, fixed-size list of float32
OUTPUT/items.parquet   the same of every item that can be retrieved

Their inner product is the score that ranks items, as in evaluation and prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from recsys_mtl.columns.rows import ROW
from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError, did_you_mean, wrong
from recsys_mtl.files import atomic_file, folder_made
from recsys_mtl.progress import progress
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.scoring.model import ModelFolder
from recsys_mtl.scoring.output import MARK, check_apart
from recsys_mtl.scoring.rows import open_rows
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tasks import Label
from recsys_mtl.version import installed_version

USERS, ITEMS = "users.parquet", "items.parquet"
_AT_ONCE = 1024  # rows that go through the network together
_ITEMS_AT_ONCE = 65_536


def embed(
    model: ModelFolder,
    *,
    input: str,
    output: str | Path,
    task: str | None = None,
    id: str | None = None,
    batch_rows: int = 65_536,
    overwrite: bool = False,
    csv: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the queries of rows and the vectors of all items.

    Args:
        model: of `find_model`.
        input: file, folder or glob of raw rows; labels are not needed.
        output: folder for both files; they appear when both are complete.
        task: the retrieval task, where the model has several.
        id: column that identifies a row; else its number, from 0.
        batch_rows: rows held in memory at a time.
        overwrite: whether files of something else are replaced.
        csv: settings of the input's CSV files.

    Raises:
        UserError: no such model, task, input or column; the output cannot be written, holds files
            that no `embed` wrote, or is the input's folder.
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        fix = "give a folder with --output"
        raise wrong("cannot write the output folder", where=str(output), found="a file", fix=fix)
    predictor = load_bundle(model.folder)
    label = _label_of(predictor, task)
    try:
        source = open_rows(predictor, input, () if id is None else (id,), csv)
    except UserError as error:
        named = (replace(p, where="--id") if p.where == "--keep" else p for p in error.problems)
        raise UserError(*named) from error
    check_apart(output, source, input, csv, (USERS, ITEMS))
    if not overwrite:
        _check_replaced(output)
    prepare_out(output)
    with (
        folder_made(output),
        atomic_file(output / USERS, prefix="_") as users,
        atomic_file(output / ITEMS, prefix="_") as items,
    ):
        with progress("embed", source.num_rows) as advance:
            for rows in _written(users, _queries(predictor, label, source, id, batch_rows)):
                advance(rows)
        vectors = predictor.network.item_vectors(label.task)[1:].detach()
        names = pl.Series(label.catalogue, dtype=pl.String).to_arrow()
        count = sum(_written(items, _chunks(names, vectors)))
    return {
        **model.facts(source),
        "output": output,
        "task": label.task,
        "rows": source.num_rows,
        "items": count,
        "dim": vectors.shape[1],
    }


def _label_of(predictor: Predictor, task: str | None) -> Label:
    """The label of the task that is asked for, or of the only one that retrieves items."""
    labels = {
        name: label for name, label in predictor.preprocessor.labels.items() if label.has_items
    }
    if not labels:
        found = ", ".join(f"{t.name} ({t.kind})" for t in predictor.tasks)
        raise wrong("the model has no retrieval task", where="--task", found=found)
    if task is None and len(labels) == 1:
        return next(iter(labels.values()))
    if task not in labels:
        expected = f"one of: {', '.join(labels)}"
        fix = did_you_mean(task or "", labels)
        raise wrong("which retrieval task?", where="--task", expected=expected, found=task, fix=fix)
    return labels[task]


def _check_replaced(output: Path) -> None:
    """What is there under the files' names was written here."""
    for path in (output / USERS, output / ITEMS):
        if not path.exists():
            continue
        try:
            stored = pq.read_schema(path).metadata or {}
        except (OSError, pa.ArrowException):
            stored = {}
        if MARK not in stored:
            fix = "give another folder with --output, or --overwrite"
            raise wrong("no embed wrote this file", where=str(path), fix=fix)


def _queries(
    predictor: Predictor, label: Label, source: Source, id: str | None, chunk_rows: int
) -> Iterator[pa.Table]:
    """The rows' ids and queries, chunk by chunk; one chunk at least."""
    columns = list(dict.fromkeys([*predictor.columns, *([] if id is None else [id])]))
    schema = pa.schema([(name, source.columns[name]) for name in columns])
    nothing = [(0, pl.DataFrame(schema.empty_table()))]
    frames = source.frames(columns, chunk_rows=chunk_rows) if source.num_rows else iter(nothing)
    for first, frame in frames:
        numbered = frame.with_row_index(ROW, first)
        batch = predictor.preprocessor.encode(numbered, labels=False)
        parts = torch.split(torch.arange(batch.num_rows), _AT_ONCE) if frame.height else ()
        queries = [predictor.raw_outputs(batch.select(rows))[label.task] for rows in parts]
        ids = numbered[ROW].cast(pl.Int64) if id is None else frame[id]
        yield _table(
            ids.alias("id").to_arrow(), torch.cat([torch.zeros(0, label.spec.outputs), *queries])
        )


def _chunks(names: pa.Array, vectors: Tensor) -> Iterator[pa.Table]:
    for first in range(0, len(names), _ITEMS_AT_ONCE):
        last = first + _ITEMS_AT_ONCE
        yield _table(names[first:last], vectors[first:last])


def _table(ids: pa.Array, vectors: Tensor) -> pa.Table:
    """Ids (n,) and vectors (n, D)."""
    flat = pa.array(vectors.float().cpu().contiguous().view(-1).numpy())
    lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    marked = {MARK: installed_version()}
    return pa.table({"id": ids, "vector": lists}).replace_schema_metadata(marked)


def _written(path: Path, tables: Iterator[pa.Table]) -> Iterator[int]:
    """Writes tables of one schema to a Parquet file; yields the rows of each."""
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        yield first.num_rows
        for table in tables:
            writer.write_table(table.cast(first.schema))
            yield table.num_rows
