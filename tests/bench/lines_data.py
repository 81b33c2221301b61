"""Lines of the bench about rows: streaming, resuming a stream, the generator."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import psutil
import workers

SMALL_BATCHES = (256, 1024, 8192)


def memory(asked: Namespace) -> dict[str, Any]:
    """Peak resident set of one streamed epoch over so many rows of 45 columns."""
    result = workers.worker(
        "ours.py", str(workers.rows(asked.memory_rows, tasks=6)), "bf16", "stream"
    )
    print(f"\nstreamed, {asked.memory_rows:,} rows: peak {result['peak_mib']:,.0f} MiB")
    return {"rows": asked.memory_rows, "peak_mib": result["peak_mib"]}


def tables(asked: Namespace) -> dict[str, Any]:
    """Peak memory of what is done with large tables; the time of small ones by both backends."""
    results: dict[str, Any] = {}
    for backend in ("plain", "torchrec"):
        result = workers.worker("tables.py", backend, str(asked.table_rows // 1000))
        over = ", ".join(f"{name} {share:.2f}" for name, share in result["over"].items())
        print(f"\n{backend}: tables of {result['mib']:,.0f} MiB, peak in sizes of them: {over}")
        results[backend] = result
    turns = str(10 * asked.rounds)
    small = workers.worker("small_tables.py", turns, *map(str, SMALL_BATCHES), threads=1)
    print(f"\ntables of {small['weights']:,} weights, look-up and update, by CPU seconds")
    small["ratio"] = {}
    for batch, seconds in small["seconds"].items():
        pairs = zip(seconds["plain"], seconds["torchrec"], strict=True)
        small["ratio"][batch] = ratio = statistics.median(a / b for a, b in pairs)
        print(f"  {batch}: plain takes {ratio:.2f} x the time of torchrec")
    return results | {"small": small}


def restart(asked: Namespace) -> dict[str, Any]:
    """Seconds until a streamed epoch over so many rows gives a batch, at its start and resumed."""
    result: dict[str, Any] = workers.worker(
        "restart.py", str(workers.rows(asked.restart_rows, tasks=6))
    )
    print(f"\nstreamed, {asked.restart_rows:,} rows, until the loader gives a batch")
    for name, seconds in result["seconds"].items():
        print(f"  {name} of the epoch: {seconds:.1f} s")
    result["ratio"] = result["seconds"]["last batch"] / result["seconds"]["read through"]
    print(f"  a stream resumed at its last batch takes {result['ratio']:.3f} x reading it through")
    return result


def synthesize(asked: Namespace) -> dict[str, Any]:
    """Seconds and peak memory, all processes together, of generating the sixteen bank tasks."""
    out = workers.WORK / "synthetic"
    command = [Path(sys.executable).with_name("recsys-mtl"), "synthesize", "bank16"]
    seconds, peaks = [], []
    for _ in range(asked.rounds):
        shutil.rmtree(out, ignore_errors=True)
        begun = time.perf_counter()
        job = subprocess.Popen(
            [*map(str, command), "--rows", str(asked.synthetic_rows), "--out", str(out)],
            stdout=subprocess.DEVNULL,
        )
        peak = 0
        while job.poll() is None:
            peak = max(peak, _resident(job.pid))
            time.sleep(0.1)
        if job.returncode != 0:
            sys.exit("synthesize failed")
        seconds.append(time.perf_counter() - begun)
        peaks.append(peak / 2**20)
    size = sum(path.stat().st_size for path in out.glob("**/*.parquet")) / 2**20
    shutil.rmtree(out)
    print(
        f"\nsynthesize bank16, {asked.synthetic_rows:,} rows: {statistics.median(seconds):.1f} s "
        f"({', '.join(f'{s:.1f}' for s in seconds)}), peak {max(peaks):,.0f} MiB of all processes, "
        f"{size:,.0f} MiB of Parquet"
    )
    return {
        "rows": asked.synthetic_rows,
        "seconds": seconds,
        "peak_mib": peaks,
        "parquet_mib": size,
    }


def _resident(pid: int) -> int:
    """Bytes that a process and its children hold in memory now."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:  # it has just ended
        return total
    return total
