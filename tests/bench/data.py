"""The rows that the benchmarks train on: 26 ids, 13 numbers and some yes/no labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

IDS, NUMBERS, VOCABULARY = 26, 13, 10_000
ID_COLUMNS = [f"c{i}" for i in range(IDS)]
NUMBER_COLUMNS = [f"n{i}" for i in range(NUMBERS)]
_CHUNK = 100_000


def task_columns(path: Path) -> list[str]:
    """The label columns of a file that `write` made."""
    return [name for name in pq.read_schema(path).names if name.startswith("t")]


def write(path: Path, rows: int, tasks: int, seed: int = 0) -> Path:
    """Write `rows` rows to a Parquet file, chunk by chunk; the same for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    writer = None
    for start in range(0, rows, _CHUNK):
        table = _chunk(np.random.default_rng([seed, start]), min(_CHUNK, rows - start), tasks)
        writer = writer or pq.ParquetWriter(unfinished, table.schema)
        writer.write_table(table)
    assert writer is not None, "no rows"
    writer.close()
    return unfinished.rename(path)


def _chunk(rng: np.random.Generator, rows: int, tasks: int) -> pa.Table:
    ids = np.minimum(rng.zipf(1.2, (IDS, rows)), VOCABULARY) - 1  # Zipf-like use, all ids in range
    numbers = rng.standard_normal((NUMBERS, rows)).astype(np.float32)
    signal = numbers[:4].sum(0) / 2 + np.sin(ids[:4]).sum(0) / 2
    labels = (signal + rng.standard_normal((tasks, rows)) > 1.5).astype(np.int8)
    columns = dict(zip(ID_COLUMNS, ids, strict=True))
    columns |= dict(zip(NUMBER_COLUMNS, numbers, strict=True))
    columns |= {f"t{task}": values for task, values in enumerate(labels)}
    return pa.table(columns)
