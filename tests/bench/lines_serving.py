"""Line of the bench about predictions."""

from __future__ import annotations

import shutil
import statistics
from argparse import Namespace
from operator import truediv
from pathlib import Path
from typing import Any

import workers


def serving(asked: Namespace) -> dict[str, Any]:
    """Latency of every way to a prediction, and rows/s from file to file beside the peer's."""
    requests = asked.requests
    path, folder = str(workers.rows(asked.rows, tasks=16)), (workers.WORK / "serving").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    peer = workers.peer()

    def ask(what: str, *rest: str) -> dict[str, Any]:
        return workers.worker("serving.py", what, path, str(folder), *rest, threads=1)

    ask("make")
    print(f"\nserving, one core a process, {requests} requests, {workers.machine()}")
    seconds = ask("latency", str(requests))
    for way, values in seconds.items():
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        print(f"  {way:15} p50 {1000 * cuts[49]:7.1f} ms   p99 {1000 * cuts[98]:7.1f} ms")
    few = ask("few", str(requests))
    for rows, ways in few.items():
        value, column = (1000 * statistics.median(ways[f"by {by}"]) for by in ("value", "column"))
        ratio = statistics.median(map(truediv, ways["by column"], ways["by value"]))
        print(
            f"  {rows:>2} rows by value {value:6.2f} ms CPU, by column {column:6.2f}: {ratio:.2f} x"
        )
    under_load = load(path, folder, 5 * requests)
    turns = []
    for turn in range(asked.rounds):
        ours = ask("predict")
        theirs = workers.worker("serving_peer.py", path, path_of_peer=peer, threads=1)
        turns.append({"ours": ours, "peer": theirs})
        print(
            f"round {turn + 1}: predict {ours['rows_per_second']:9,.0f} rows/s, "
            f"{workers.PEER} {theirs['rows_per_second']:9,.0f} rows/s",
            flush=True,
        )
    ratios = {
        clock: statistics.median(turn["ours"][clock] / turn["peer"][clock] for turn in turns)
        for clock in ("rows_per_second", "rows_per_cpu_second")
    }
    print(
        f"  predict {ratios['rows_per_second']:.2f} x {workers.PEER}, by CPU time "
        f"{ratios['rows_per_cpu_second']:.2f} x ({asked.rows:,} rows)"
    )
    kept = {"seconds": seconds, "few": few, "serve": under_load, "turns": turns}
    return kept | {"ratio_to_peer": ratios}


def load(path: str, folder: Path, requests: int, many: int = 20_000) -> dict[str, Any]:
    """`recsys-mtl serve` under concurrent clients, and its memory after many requests."""
    result = workers.worker("serve.py", path, str(folder), str(requests), str(many), threads=1)
    for clients, of in result["clients"].items():
        cuts = statistics.quantiles(of["seconds"], n=100, method="inclusive")
        print(
            f"  serve, {clients:>2} clients: {of['per_second']:6,.0f} requests/s "
            f"({of['per_cpu_second']:,.0f} by CPU time)   "
            f"p50 {1000 * cuts[49]:6.1f} ms   p99 {1000 * cuts[98]:6.1f} ms"
        )
    print(
        f"  serve: {result['early_mib']:,.0f} MiB after 1,000 requests, "
        f"{result['late_mib']:,.0f} MiB after {many:,}",
        flush=True,
    )
    return result
