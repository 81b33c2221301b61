"""Lines of the bench about training: rows/s, threads, processes, checkpoints."""

from __future__ import annotations

import statistics
from argparse import Namespace
from typing import Any

import workers

CONTESTANTS = ("peer", "fp32", "bf16")
TABLE_ROWS = (10_000, 80_000)
THREADS_ROWS = 16_384
_SPIN = "GOMP_SPINCOUNT"
WAITING: dict[str, tuple[int, dict[str, str]]] = {
    "one thread": (1, {}),
    "two, ours": (2, {}),
    "two, passive": (2, {_SPIN: "0"}),
    **{f"two, {turns:,} turns": (2, {_SPIN: str(turns)}) for turns in (3000, 10_000, 30_000)},
    "two, OpenMP's default": (2, {_SPIN: "300000"}),
}
"""Threads, and turns that one waits before it sleeps."""
CORES = {"one process, two threads": ("1", "2"), "two processes, a thread each": ("2", "1")}


def throughput(asked: Namespace) -> dict[str, Any]:
    """Rows/s from the Parquet file to the trained network, ours and the peer's, in turns."""
    path = workers.rows(asked.rows, tasks=16)
    peer = workers.peer()
    seen: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for turn in range(asked.rounds):
        for name in CONTESTANTS:
            if name == "peer":
                result = workers.worker("peer.py", str(path), path_of_peer=peer)
            else:
                result = workers.worker("ours.py", str(path), name, "memory")
            seen[name].append(result["rows_per_second"])
            print(
                f"round {turn + 1}: {name:5} {result['rows_per_second']:9,.0f} rows/s", flush=True
            )
    print(f"\nmedian of {asked.rounds} rounds, {asked.rows:,} rows, {workers.machine()}")
    medians = {name: statistics.median(values) for name, values in seen.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(seen[name], seen["peer"], strict=True))
        for name in CONTESTANTS
    }
    for name in CONTESTANTS:
        print(f"  {name:5} {medians[name]:9,.0f} rows/s   {ratios[name]:.2f} x {workers.PEER}")
    return {
        "rows": asked.rows,
        "rounds": seen,
        "median_rows_per_second": medians,
        "ratio_to_peer": ratios,
    }


def threads(asked: Namespace) -> dict[str, Any]:
    """A product and a step by one thread and by two, which wait longer or shorter for each other.

    Alone and beside a process that keeps a core busy; each process times all three.
    """
    path = str(workers.rows(THREADS_ROWS, tasks=16))
    seen: dict[str, dict[str, list[float]]] = {}
    for _ in range(asked.rounds):
        for name, (number, waiting) in WAITING.items():
            result = workers.worker(
                "threads.py",
                *(path, asked.precision, str(number), "2"),
                threads=number,
                more=waiting,
            )
            for what, seconds in result.items():
                seen.setdefault(what, {}).setdefault(name, []).append(seconds)
    print(f"\nthreads, {asked.precision}, median of {asked.rounds} rounds, {workers.machine()}")
    for what, by_name in seen.items():
        print(f"{what}, speed over that of one thread")
        for name, seconds in by_name.items():
            ratios = [one / s for one, s in zip(by_name["one thread"], seconds, strict=True)]
            own, ratio = 1000 * statistics.median(seconds), statistics.median(ratios)
            print(f"  {name:20} {own:9,.1f} ms   {ratio:.2f}", flush=True)
    return seen


def processes(asked: Namespace) -> dict[str, Any]:
    """Rows/s of training by two processes on two cores, beside one with two threads, in turns."""
    path = str(workers.rows(asked.rows, tasks=16))
    seen: dict[str, list[float]] = {name: [] for name in CORES}
    for _ in range(asked.rounds):
        for name, arguments in CORES.items():
            result = workers.worker("processes.py", path, *arguments)
            seen[name].append(result["training_rows_per_second"])
    one, two = seen.values()
    ratio = statistics.median(a / b for a, b in zip(two, one, strict=True))
    print(
        f"\ntwo processes on two cores, {asked.rows:,} rows, median of {asked.rounds} rounds, "
        f"{workers.machine()}"
    )
    for name, values in seen.items():
        print(f"  {name:29} {statistics.median(values):9,.0f} rows/s")
    print(f"  two processes train {ratio:.2f} x the rows of one")
    return {"rows": asked.rows, "rounds": seen, "ratio": ratio}


def checkpoints(asked: Namespace) -> dict[str, Any]:
    """What a checkpoint a minute costs, by the size of the 26 tables."""
    results: dict[str, Any] = {}
    print("\na checkpoint a minute, in shares of it")
    for table_rows in TABLE_ROWS:
        result = workers.worker(
            "checkpoints.py",
            str(workers.rows(asked.rows, tasks=16)),
            str(table_rows),
            str(asked.rounds),
        )
        waits, cpu = (result["seconds"][name] for name in ("waits", "cpu"))
        print(
            f"  state of {result['mib']:,.0f} MiB: training waits {waits:.3f} s"
            f" ({waits / 60:.2%}), {cpu:.2f} s of CPU ({cpu / 60:.2%})"
        )
        results[str(table_rows)] = result
    return results
