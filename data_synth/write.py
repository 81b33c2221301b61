"""From a plan to a folder of Parquet files, in parallel, resumable.

    rows/month=2024-01/part-00000.parquet …    rows for training
    truth/month=2024-01/part-00000.parquet …   row_id and true linear predictors, row for row
    truth.json                                 the truth of the data set; written last
    plan.yaml, train.yaml                      the effective plan; a ready training config

A part is one chunk's rows of one month. While the folder is being filled, _work/ names the job and
holds the counts of each finished chunk; a stopped job resumes after them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from data_synth.block import ROWS, RowBlock, draw_block
from data_synth.load import dump_plan, plan_hash
from data_synth.plan import Plan
from data_synth.statistics import Statistics
from data_synth.train_config import train_config
from data_synth.truth import FORMAT, describe_truth
from data_synth.world import World
from recsys_mtl.errors import wrong
from recsys_mtl.files import TEMPORARY, atomic_file, atomic_write, free_space, remove_folder
from recsys_mtl.folder_lock import HOLDER, LOCK, locked
from recsys_mtl.memory import in_bytes
from recsys_mtl.processes import worker_pool
from recsys_mtl.storage.location import Location

CHUNK_ROWS = 32 * ROWS
_KINDS = ("rows", "truth")
_WORK, _NOTE, _TRUTH = "_work", "job.json", "truth.json"
_ROW_BYTES = 20  # on disk, at least
_IDENTITY = ("format", "plan", "rows")
_Job = dict[str, Any]
_Progress = Callable[[int], None]


@dataclass(frozen=True)
class _RowChunk:
    """Rows `first` to `last` - 1, complete blocks except at the end."""

    number: int
    first: int
    last: int


def synthesize(
    plan: Plan,
    out: Location,
    *,
    rows: int,
    processes: int | None = None,
    chunk_rows: int = CHUNK_ROWS,
    progress: _Progress = lambda rows: None,
) -> None:
    """Fill the folder `out`, or resume filling it.

    Column values depend on the plan (its seed included) only; more rows begin with the same ones.

    Args:
        plan: a checked plan.
        out: a new or empty folder, or one that the same job has begun.
        rows: number of rows, 1 or more.
        processes: how many draw at the same time; None takes one a core.
        chunk_rows: rows of a chunk, rounded up to blocks; memory grows with it.
        progress: called with the rows of each finished chunk.

    Raises:
        UserError: `out` holds other data or files, another call fills it, or its disk has too
            little space.
    """
    _require_space(out, rows)
    size = max(1, -(-chunk_rows // ROWS)) * ROWS
    job = {"format": FORMAT, "plan": plan_hash(plan), "rows": rows, "chunk_rows": size}
    if not _is_finished(out, job):
        with locked(out / _WORK), threadpool_limits(1):
            if not _is_finished(out, job):  # by another call, before the lock
                _fill(plan, out, job, processes or os.cpu_count() or 1, progress)
                return
    progress(rows)


def _fill(plan: Plan, out: Location, job: _Job, processes: int, progress: _Progress) -> None:
    """Write all that is missing; the truth comes last."""
    _begin(out, job)
    rows, step = job["rows"], job["chunk_rows"]
    chunks = [
        _RowChunk(number, first, min(first + step, rows))
        for number, first in enumerate(range(0, rows, step))
    ]
    world = World.of(plan)
    for chunk in _all_done(world, out, chunks, processes):
        progress(chunk.last - chunk.first)
    statistics = Statistics.total(Statistics.load(_counts(out, chunk)) for chunk in chunks)
    atomic_write(out / "plan.yaml", dump_plan(plan))
    atomic_write(out / "train.yaml", train_config(plan))
    truth = describe_truth(world, statistics)
    atomic_write(out / _TRUTH, json.dumps(truth, indent=1, allow_nan=False) + "\n")
    remove_folder(out / _WORK, missing_ok=True)  # the lock in it may be open


def _require_space(out: Location, rows: int) -> None:
    needed, free = rows * _ROW_BYTES, free_space(out)
    if needed > free:
        raise wrong(
            f"so many rows need {in_bytes(needed)} of disk at least",
            where=f"--rows {rows}",
            expected=f"at most the {in_bytes(free)} that are free in {out}",
            fix="choose fewer rows, or another --out",
        )


def _is_finished(out: Location, job: _Job) -> bool:
    """Whether the job's data are there; anything but its data, or none, is an error."""
    note, truth = out / _WORK / _NOTE, out / _TRUTH
    if truth.is_file() and not note.exists():
        if _finished(truth) == {key: job[key] for key in _IDENTITY}:
            remove_folder(out / _WORK, missing_ok=True)  # a kill may have left some
            return True
        raise _taken(out, "a data set of another plan, seed or number of rows")
    if note.exists():
        if note.read_text() != json.dumps(job):
            raise _taken(out, "a begun data set of another plan, seed, number of rows or chunk")
    elif not _is_empty(out):
        raise _taken(out, "other files")
    return False


def _begin(out: Location, job: _Job) -> None:
    """Claim the folder for the job; what a killed one left half written goes."""
    for kind in (*_KINDS, _WORK):
        for leftover in (out / kind).glob(f"**/*{TEMPORARY}*"):
            leftover.unlink()
    atomic_write(out / _WORK / _NOTE, json.dumps(job))


def _is_empty(out: Location) -> bool:
    """Or not there; a call that was killed before it wrote its note has left no more than that."""
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    work = (out / _WORK).glob("**/*") if names == {_WORK} else ()
    return names <= {_WORK} and all(TEMPORARY in p.name or p.name in (LOCK, HOLDER) for p in work)


def _finished(truth: Location) -> dict[str, object]:
    """Identity of the data of a truth.json; empty for another file of that name."""
    try:
        content = json.loads(truth.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return {key: content.get(key) for key in _IDENTITY} if isinstance(content, dict) else {}


def _taken(out: Location, found: str) -> Exception:
    return wrong(
        "cannot write the data there",
        where=str(out),
        expected="a new or empty folder, or one that the same command has begun",
        found=found,
        fix="give another --out, or delete the folder",
    )


def _counts(out: Location, chunk: _RowChunk) -> Location:
    return out / _WORK / f"part-{chunk.number:05}.npz"


def _all_done(
    world: World, out: Location, chunks: list[_RowChunk], processes: int
) -> Iterator[_RowChunk]:
    """Each chunk, once it is written."""
    missing = []
    for chunk in chunks:
        if _counts(out, chunk).exists():
            yield chunk
        else:
            missing.append(chunk)
    if len(missing) <= 1 or processes == 1:
        for chunk in missing:
            yield _write_chunk(world, out, chunk)
        return
    with worker_pool(min(processes, len(missing)), _start_worker, world, out) as pool:
        yield from pool.map(_work, missing)


_worker: tuple[World, Location] | None = None


def _start_worker(world: World, out: Location) -> None:
    global _worker
    threadpool_limits(1)
    _worker = world, out


def _work(chunk: _RowChunk) -> _RowChunk:
    assert _worker is not None
    return _write_chunk(*_worker, chunk)


def _write_chunk(world: World, out: Location, chunk: _RowChunk) -> _RowChunk:
    """Draw and write a chunk; its counts come last and mark it as finished."""
    months = _months(world.plan)
    parts: dict[str, dict[str, list[pa.Table]]] = {kind: {} for kind in _KINDS}
    statistics: list[Statistics] = []
    for number in range(chunk.first // ROWS, -(-chunk.last // ROWS)):
        block = _cut(draw_block(world, number), chunk.last - number * ROWS)
        statistics.append(Statistics.of(world, block))
        month = months[block.state.day]
        order = np.argsort(month, kind="stable")
        names, starts = np.unique(month[order], return_index=True)
        for name, mine in zip(names, np.split(order, starts[1:]), strict=True):
            taken = pa.array(mine)
            parts["rows"].setdefault(name, []).append(block.rows.take(taken))
            parts["truth"].setdefault(name, []).append(block.truth.take(taken))
    for kind, by_month in parts.items():
        for name, tables in by_month.items():
            path = out / kind / f"month={name}" / f"part-{chunk.number:05}.parquet"
            _write_part(path, pa.concat_tables(tables))
    with atomic_file(_counts(out, chunk)) as temporary:
        Statistics.total(statistics).save(temporary)
    return chunk


def _months(plan: Plan) -> np.ndarray:
    days = np.datetime64(plan.period.start) + np.arange(plan.period.days)
    return np.datetime_as_string(days.astype("datetime64[M]"))


def _cut(block: RowBlock, rows: int) -> RowBlock:
    """The block's first rows."""
    if rows >= ROWS:
        return block
    state = replace(block.state, day=block.state.day[:rows])
    return replace(
        block,
        rows=block.rows.slice(0, rows),
        truth=block.truth.slice(0, rows),
        state=state,
        scores=block.scores[:rows],
        labelled={name: mask[:rows] for name, mask in block.labelled.items()},
    )


def _write_part(path: Location, table: pa.Table) -> None:
    """Write a Parquet file; texts are plain strings to readers, dictionaries inside."""
    texts = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
    with atomic_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            use_dictionary=texts or False,
            compression="zstd",
            compression_level=1,
            write_statistics=["row_id", "customer_id", "day"],
            store_schema=False,
        )
