"""`make bench`: throughput beside a peer, memory, generator, adaTT, architectures,
sequences, combiners, serving, restart of a stream, threads, checkpoints, processes.

Every timed process runs alone, the contestants take turns, and what is printed are medians over the
rounds and the ratios of one round to the peer's process beside it. The peer, torch-rechub, is
installed into .bench for this and nothing else. Prints a table and writes .bench/result.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import combiners_table  # noqa: E402
import data  # noqa: E402

PEER = "torch-rechub==0.9.0"
WORK = Path(".bench")
CONTESTANTS = ("peer", "fp32", "bf16")
BENCHES = ("throughput", "memory", "synthesize", "adatt", "architectures", "sequences")
BENCHES += ("combiners", "serving", "restart", "threads", "checkpoints", "processes")
TABLE_ROWS = (10_000, 80_000)
WAITING = {"openmp": "300000", "ours": "1000", "passive": "0"}
"""Turns that a thread of two waits before it sleeps: OpenMP's default, the package's, none."""
CORES = {"one process, two threads": ("1", "2"), "two processes, a thread each": ("2", "1")}


def main() -> None:
    """Run the asked benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="BENCH", help=f"some of {', '.join(BENCHES)}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contestant")
    parser.add_argument("--rows", type=int, default=131_072, help="rows of the throughput bench")
    parser.add_argument("--memory-rows", type=int, default=5_000_000, help="of a streamed training")
    parser.add_argument("--restart-rows", type=int, default=1_000_000, help="of a resumed stream")
    parser.add_argument("--synthetic-rows", type=int, default=10_000_000, help="to generate")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[1024, 4096], help="of the combiners' bench"
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        help="of sequences and combiners",
    )
    parser.add_argument("--requests", type=int, default=200, help="of the serving bench")
    chosen = parser.parse_args()
    asked = chosen.only or BENCHES
    if unknown := set(asked) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    WORK.mkdir(exist_ok=True)
    results: dict[str, Any] = {"machine": machine()}
    if "throughput" in asked:
        results["throughput"] = throughput(chosen.rounds, chosen.rows)
    if "memory" in asked:
        results["memory"] = memory(chosen.memory_rows)
    if "synthesize" in asked:
        results["synthesize"] = synthesize(chosen.rounds, chosen.synthetic_rows)
    if "adatt" in asked:
        results["adatt"] = adatt(chosen.rounds, chosen.rows)
    if "architectures" in asked:
        results["architectures"] = architectures(chosen.rounds, chosen.rows)
    if "sequences" in asked:
        results["sequences"] = sequences(chosen.rounds, chosen.rows, chosen.precision)
    if "combiners" in asked:
        sizes, precision = chosen.batch_sizes, chosen.precision
        results["combiners"] = combiners(chosen.rounds, chosen.rows, sizes, precision)
    if "serving" in asked:
        results["serving"] = serving(chosen.rounds, chosen.rows, chosen.requests)
    if "restart" in asked:
        results["restart"] = restart(chosen.restart_rows)
    if "threads" in asked:
        results["threads"] = threads(chosen.rounds, chosen.rows)
    if "checkpoints" in asked:
        results["checkpoints"] = checkpoints(chosen.rounds, chosen.rows)
    if "processes" in asked:
        results["processes"] = processes(chosen.rounds, chosen.rows)
    (WORK / "result.json").write_text(json.dumps(results, indent=2) + "\n")


def throughput(rounds: int, rows: int) -> dict[str, Any]:
    """Rows/s from the Parquet file to the trained network, ours and the peer's, in turns."""
    path = _rows(rows, tasks=16)
    peer = _install_peer()
    seen: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for turn in range(rounds):
        for name in CONTESTANTS:
            if name == "peer":
                result = _worker("peer.py", str(path), path_of_peer=peer)
            else:
                result = _worker("ours.py", str(path), name, "memory")
            seen[name].append(result["rows_per_second"])
            print(
                f"round {turn + 1}: {name:5} {result['rows_per_second']:9,.0f} rows/s", flush=True
            )
    print(f"\nmedian of {rounds} rounds, {rows:,} rows, {machine()}")
    medians = {name: statistics.median(values) for name, values in seen.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(seen[name], seen["peer"], strict=True))
        for name in CONTESTANTS
    }
    for name in CONTESTANTS:
        print(f"  {name:5} {medians[name]:9,.0f} rows/s   {ratios[name]:.2f} x {PEER}")
    return {
        "rows": rows,
        "rounds": seen,
        "median_rows_per_second": medians,
        "ratio_to_peer": ratios,
    }


def memory(rows: int) -> dict[str, Any]:
    """Peak resident set of one streamed epoch over `rows` rows of 45 columns."""
    result = _worker("ours.py", str(_rows(rows, tasks=6)), "bf16", "stream")
    print(f"\nstreamed, {rows:,} rows: peak {result['peak_mib']:,.0f} MiB")
    return {"rows": rows, "peak_mib": result["peak_mib"]}


def restart(rows: int) -> dict[str, Any]:
    """Seconds until a streamed epoch over `rows` rows gives a batch, at its start and resumed."""
    result: dict[str, Any] = _worker("restart.py", str(_rows(rows, tasks=6)))
    print(f"\nstreamed, {rows:,} rows, until the loader gives a batch")
    for name, seconds in result["seconds"].items():
        print(f"  {name} of the epoch: {seconds:.1f} s")
    result["ratio"] = result["seconds"]["last batch"] / result["seconds"]["read through"]
    print(f"  a stream resumed at its last batch takes {result['ratio']:.3f} x reading it through")
    return result


def checkpoints(rounds: int, rows: int) -> dict[str, Any]:
    """What a checkpoint a minute costs, by the size of the 26 tables."""
    results = {}
    print("\na checkpoint a minute, in shares of it")
    for table_rows in TABLE_ROWS:
        result = _worker("checkpoints.py", str(_rows(rows, tasks=16)), str(table_rows), str(rounds))
        waits, cpu = (result["seconds"][name] for name in ("waits", "cpu"))
        print(
            f"  state of {result['mib']:,.0f} MiB: training waits {waits:.3f} s"
            f" ({waits / 60:.2%}), {cpu:.2f} s of CPU ({cpu / 60:.2%})"
        )
        results[table_rows] = result
    return results


def processes(rounds: int, rows: int) -> dict[str, Any]:
    """Rows/s of training by two processes on two cores, beside one with two threads, in turns."""
    path = str(_rows(rows, tasks=16))
    seen: dict[str, list[float]] = {name: [] for name in CORES}
    for _ in range(rounds):
        for name, arguments in CORES.items():
            result = _worker("processes.py", path, *arguments)
            seen[name].append(result["training_rows_per_second"])
    one, two = seen.values()
    ratio = statistics.median(a / b for a, b in zip(two, one, strict=True))
    print(f"\ntwo processes on two cores, {rows:,} rows, median of {rounds} rounds, {machine()}")
    for name, values in seen.items():
        print(f"  {name:29} {statistics.median(values):9,.0f} rows/s")
    print(f"  two processes train {ratio:.2f} x the rows of one")
    return {"rows": rows, "rounds": seen, "ratio": ratio}


def threads(rounds: int, rows: int) -> dict[str, Any]:
    """Rows/s of training by two threads, alone and beside a process that keeps a core busy."""
    path = _rows(rows, tasks=16)
    medians: dict[str, dict[str, float]] = {}
    for beside in ("nothing", "a busy process"):
        seen: dict[str, list[float]] = {name: [] for name in WAITING}
        for _ in range(rounds):
            for name, turns in WAITING.items():
                busy = [sys.executable, "-c", "while True: pass"]
                other = subprocess.Popen(busy) if beside != "nothing" else None
                try:
                    waiting = {"GOMP_SPINCOUNT": turns}
                    result = _worker(
                        "ours.py", str(path), "fp32", "memory", threads=2, more=waiting
                    )
                finally:
                    if other is not None:
                        other.kill()
                seen[name].append(result["training_rows_per_second"])
        medians[beside] = {name: statistics.median(values) for name, values in seen.items()}
        print(f"\ntwo threads, {rows:,} rows, beside {beside}")
        for name, speed in medians[beside].items():
            ratio = speed / medians[beside]["openmp"]
            print(f"  {name:8} {speed:9,.0f} rows/s   {ratio:.2f} x OpenMP's default")
    return medians


def synthesize(rounds: int, rows: int) -> dict[str, Any]:
    """Seconds and peak memory, all processes together, of generating the sixteen bank tasks."""
    out = WORK / "synthetic"
    command = [Path(sys.executable).with_name("recsys-mtl"), "synthesize", "bank16"]
    seconds, peaks = [], []
    for _ in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        begun = time.perf_counter()
        job = subprocess.Popen(
            [*map(str, command), "--rows", str(rows), "--out", str(out)], stdout=subprocess.DEVNULL
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
        f"\nsynthesize bank16, {rows:,} rows: {statistics.median(seconds):.1f} s "
        f"({', '.join(f'{s:.1f}' for s in seconds)}), peak {max(peaks):,.0f} MiB of all processes, "
        f"{size:,.0f} MiB of Parquet"
    )
    return {"rows": rows, "seconds": seconds, "peak_mib": peaks, "parquet_mib": size}


def adatt(rounds: int, rows: int) -> dict[str, Any]:
    """Steps with and without adaTT, of sixteen tasks."""
    result: dict[str, Any] = _worker("adatt.py", str(_rows(rows, tasks=16)), str(rounds))
    print(f"\nadaTT, median of {rounds} rounds of 10 steps of 4,096 rows, {machine()}")
    for name, numbers in result.items():
        ratio = numbers["ratio"]
        print(
            f"  {name:35} {1000 * numbers['seconds']:6.0f} ms a step   {ratio:.2f} x plain   "
            f"{1 / ratio:.3f} of its rows/s"
        )
    return result


def architectures(rounds: int, rows: int) -> dict[str, Any]:
    """Steps of every architecture with experts of one width, of sixteen tasks."""
    path = str(_rows(rows, tasks=16))
    result: dict[str, Any] = _worker("architectures.py", path, str(rounds), threads=1)
    print(f"\narchitectures, one thread, median of {rounds} rounds of 3 steps, {machine()}")
    for name, numbers in result.items():
        ratio = f"{numbers['ratio']:.2f} x one shared bottom"
        print(f"  {name:15} {1000 * numbers['seconds']:6.0f} ms a step   {ratio}")
    return result


def sequences(rounds: int, rows: int, precision: str) -> dict[str, Any]:
    """Steps with a history of up to 50 entries, by encoder; one thread."""
    path = str(_rows(rows, tasks=16))
    result: dict[str, Any] = _worker("sequences.py", path, str(rounds), precision, threads=1)
    print(
        f"\nhistory of 0 to 50 entries beside 26 ids and 13 numbers, {precision}, one thread, "
        f"median of {rounds} rounds of 5 steps of 2,048 rows, {machine()}"
    )
    for name, numbers in result.items():
        print(
            f"  {name:35} {1000 * numbers['seconds']:6.0f} ms a step   "
            f"{numbers['ratio']:.2f} x list, mean"
        )
    return result


def combiners(rounds: int, rows: int, sizes: list[int], precision: str) -> dict[str, Any]:
    """Steps that combine sixteen tasks' gradients, ours beside torchjd's; one thread each."""
    path = str(_rows(rows, tasks=16))

    def ask(what: str, size: int, *rest: str) -> dict[str, Any]:
        return _worker("combiners.py", what, path, str(size), precision, *rest, threads=1)

    results: dict[str, Any] = {"rows": rows, "precision": precision}
    results["agree"] = ask("agree", min(256, *sizes))
    print(f"\ncombiners, {precision}, one thread, median of {rounds} rounds, {machine()}")
    print(combiners_table.agreement(results["agree"]))
    for size in sizes:
        results[str(size)] = ask("steps", size, str(rounds))
        print(f"\n{combiners_table.steps(size, results[str(size)])}", flush=True)
    small, large = min(sizes), max(sizes)
    results["ways"] = ask("ways", small, str(rounds))
    print(f"\n{combiners_table.ways(small, results['ways'])}", flush=True)
    results["passes"] = {name: ask("passes", large, name) for name in combiners_table.CAGT}
    print(f"\n{combiners_table.passes(large, results['passes'])}", flush=True)
    results["peak_mib"] = {
        name: ask("memory", large, *combiners_table.method_and_way(name))["mib"]
        for name in results[str(large)]
    }
    print(f"\n{combiners_table.memory(large, results['peak_mib'])}", flush=True)
    return results


def serving(rounds: int, rows: int, requests: int) -> dict[str, Any]:
    """Latency of every way to a prediction, and rows/s from file to file beside the peer's."""
    path, folder = str(_rows(rows, tasks=16)), (WORK / "serving").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    peer = _install_peer()

    def ask(what: str, *rest: str) -> dict[str, Any]:
        return _worker("serving.py", what, path, str(folder), *rest, threads=1)

    ask("make")
    print(f"\nserving, one core a process, {requests} requests, {machine()}")
    seconds = ask("latency", str(requests))
    for way, values in seconds.items():
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        print(f"  {way:15} p50 {1000 * cuts[49]:7.1f} ms   p99 {1000 * cuts[98]:7.1f} ms")
    turns = []
    for turn in range(rounds):
        ours = ask("predict")
        theirs = _worker("serving_peer.py", path, path_of_peer=peer, threads=1)
        turns.append({"ours": ours, "peer": theirs})
        print(
            f"round {turn + 1}: predict {ours['rows_per_second']:9,.0f} rows/s, "
            f"{PEER} {theirs['rows_per_second']:9,.0f} rows/s",
            flush=True,
        )
    ratios = {
        clock: statistics.median(turn["ours"][clock] / turn["peer"][clock] for turn in turns)
        for clock in ("rows_per_second", "rows_per_cpu_second")
    }
    print(
        f"  predict {ratios['rows_per_second']:.2f} x {PEER}, by CPU time "
        f"{ratios['rows_per_cpu_second']:.2f} x ({rows:,} rows)"
    )
    return {"seconds": seconds, "turns": turns, "ratio_to_peer": ratios}


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


def machine() -> str:
    """What the figures were measured on."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _rows(rows: int, tasks: int) -> Path:
    path = (WORK / f"rows-{rows}-{tasks}.parquet").resolve()
    return path if path.exists() else data.write(path, rows, tasks)


def _install_peer() -> Path:
    target = (WORK / "peer").resolve()
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
        subprocess.run([*pip, PEER], check=True)
    return target


def _worker(
    script: str,
    *arguments: str,
    path_of_peer: Path | None = None,
    threads: int | None = None,
    more: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a worker, in an environment with `more`, and read the JSON of its last line."""
    environment = os.environ | (more or {})
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    if path_of_peer is not None:
        environment["PYTHONPATH"] = str(path_of_peer)
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
