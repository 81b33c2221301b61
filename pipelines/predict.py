"""`recsys-mtl predict`: raw rows from files to predictions in a Parquet file, in bounded memory."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipelines.evaluate import model_folder
from pipelines.measure import peak_memory_mb
from pipelines.output import envelope, prepare_out, write_result
from recsys_mtl.data.source import Source
from recsys_mtl.errors import Problem, UserError, did_you_mean, wrong
from recsys_mtl.files import atomic_file
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.training.progress import progress

log = logging.getLogger(__name__)


def run(
    run_dir: Path, *, input: str, output: Path, out: Path | None = None, batch_rows: int = 65_536
) -> dict[str, Any]:
    """Predict and say where the predictions are; see `predict`."""
    result = predict(run_dir, input=input, output=output, out=out, batch_rows=batch_rows)
    print(f"{result['rows']:,} rows, {result['rows_per_second']:,.0f} rows/s: {output}")
    return result


def predict(
    run_dir: str | Path,
    *,
    input: str,
    output: str | Path,
    out: str | Path | None = None,
    batch_rows: int = 65_536,
) -> dict[str, Any]:
    """Score every row of the input, in its order.

    Args:
        run_dir: a run's folder, or its model folder.
        input: file, folder or glob of raw rows (Parquet or CSV); labels are not needed.
        output: Parquet file to write; it appears when all rows are in it.
        out: folder for result.json; None writes none.
        batch_rows: rows held in memory at a time.

    Raises:
        UserError: no such model or input, a missing column, or a place that cannot be written, or
            that is an input file.
    """
    started = datetime.now(UTC)
    if out is not None:
        out = prepare_out(out)
    output = Path(output)
    if output.suffix.lower() == ".csv":
        fix = "give the output a name that ends in .parquet"
        raise wrong("predictions are written as Parquet", where=str(output), fix=fix)
    prepare_out(output.parent)
    if output.is_dir():
        fix = "give the name of a Parquet file with --output"
        raise wrong("cannot write the output file", where=str(output), found="a folder", fix=fix)
    predictor = load_bundle(model_folder(run_dir))
    source = _open(predictor, input)
    if output.exists() and any(output.samefile(reader.file.path) for reader in source.readers):
        fix = "give another file with --output"
        raise wrong("the output would replace an input file", where=str(output), fix=fix)
    begun = time.perf_counter()
    rows = 0
    with atomic_file(output) as temporary, progress("predict", source.num_rows) as advance:
        schema = pl.DataFrame(schema=predictor.output_schema()).to_arrow().schema
        with pq.ParquetWriter(temporary, schema) as writer:
            for _, frame in source.frames(predictor.columns, chunk_rows=batch_rows):
                writer.write_table(predictor.predict(frame).to_arrow().cast(schema))
                rows += frame.height
                advance(frame.height)
    seconds = time.perf_counter() - begun
    result = envelope("predict", started=started) | {
        "model": model_folder(run_dir),
        "input_fingerprint": source.fingerprint(),
        "output": output,
        "rows": rows,
        "rows_per_second": round(rows / max(seconds, 1e-9), 1),
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }
    if out is not None:
        write_result(out, result)
    return result


def _open(predictor: Predictor, path: str) -> Source:
    types = predictor.schema()
    numbers = {column for column, dtype in types.items() if dtype == pl.Float64}
    source = Source.open(
        path,
        root=Path.cwd(),
        fmt="auto",
        text_columns=set(types) - numbers,
        number_columns=numbers,
        where="--input",
    )
    missing = [column for column in predictor.columns if column not in source.columns]
    if missing:
        raise UserError(
            *(
                Problem(
                    "missing column",
                    f"--input {path}",
                    f"a column '{column}', which the model reads",
                    "none",
                    did_you_mean(column, source.columns),
                )
                for column in missing
            )
        )
    return source
