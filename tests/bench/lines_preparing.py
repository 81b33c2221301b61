"""Lines of the bench about what precedes the steps of a training."""

from __future__ import annotations

import statistics
from argparse import Namespace
from pathlib import Path
from typing import Any

import workers


def preparing(asked: Namespace) -> dict[str, Any]:
    """Encoding beside reading, fitting beside a scan, a stream by one thread and by several."""
    few, many = asked.rows, asked.restart_rows
    return {
        "encode": _turns("encode", workers.rows(few, tasks=16), asked.rounds, threads=1),
        "fit": _turns("fit", workers.rows(many, tasks=6), asked.rounds, threads=1),
        "stream": _turns("stream", workers.rows(many, tasks=6), asked.rounds, threads=None),
    }


def _turns(what: str, path: Path, rounds: int, *, threads: int | None) -> dict[str, Any]:
    """Both contestants' rows/s, and the ratio of their seconds in a round."""
    result = workers.worker("preparing.py", str(path), what, str(rounds), threads=threads)
    (first, ours), (second, others) = result["seconds"].items()
    result["ratio"] = statistics.median(a / b for a, b in zip(ours, others, strict=True))
    clock = "seconds" if what == "stream" else "CPU seconds"
    print(f"\n{what}, {result['rows']:,} rows, by {clock}, median of {rounds} rounds")
    for name, seconds in result["seconds"].items():
        middle = statistics.median(seconds)
        print(f"  {name:15} {middle:7.2f} s  {result['rows'] / middle:10,.0f} rows/s")
    print(f"  {first} takes {result['ratio']:.2f} x the time of {second}")
    return result


def start(asked: Namespace) -> dict[str, Any]:
    """From the start of `recsys-mtl train` to its first step."""
    path = str(workers.rows(asked.rows, tasks=16))
    seen = [workers.worker("first_step.py", path, threads=1) for _ in range(asked.rounds)]
    print(
        f"\nstart of a training of {asked.rows:,} rows, one thread, median of {asked.rounds} rounds"
    )
    for name in seen[0]:
        wall, cpu = (statistics.median(turn[name][clock] for turn in seen) for clock in (0, 1))
        print(f"  until {name:10} {wall:5.1f} s, {cpu:5.1f} s of CPU")
    return {"rows": asked.rows, "rounds": seen}
