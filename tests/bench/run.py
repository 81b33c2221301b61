"""`make bench`: throughput beside a peer, memory of a streamed training, generator, adaTT.

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
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import data  # noqa: E402

PEER = "torch-rechub==0.9.0"
WORK = Path(".bench")
CONTESTANTS = ("peer", "fp32", "bf16")
BENCHES = ("throughput", "memory", "synthesize", "adatt")


def main() -> None:
    """Run the asked benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="BENCH", help=f"some of {', '.join(BENCHES)}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contestant")
    parser.add_argument("--rows", type=int, default=131_072, help="rows of the throughput bench")
    parser.add_argument("--memory-rows", type=int, default=5_000_000, help="of a streamed training")
    parser.add_argument("--synthetic-rows", type=int, default=10_000_000, help="to generate")
    chosen = parser.parse_args()
    asked = chosen.only or BENCHES
    if unknown := set(asked) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    WORK.mkdir(exist_ok=True)
    found: dict[str, Any] = {"machine": machine()}
    if "throughput" in asked:
        found["throughput"] = throughput(chosen.rounds, chosen.rows)
    if "memory" in asked:
        found["memory"] = memory(chosen.memory_rows)
    if "synthesize" in asked:
        found["synthesize"] = synthesize(chosen.rounds, chosen.synthetic_rows)
    if "adatt" in asked:
        found["adatt"] = adatt(chosen.rounds, chosen.rows)
    (WORK / "result.json").write_text(json.dumps(found, indent=2) + "\n")


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
    for name, found in result.items():
        ratio = found["ratio"]
        print(
            f"  {name:35} {1000 * found['seconds']:6.0f} ms a step   {ratio:.2f} x plain   "
            f"{1 / ratio:.3f} of its rows/s"
        )
    return result


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


def _worker(script: str, *arguments: str, path_of_peer: Path | None = None) -> dict[str, float]:
    """Run a worker to its end and read the JSON of its last line."""
    environment = dict(os.environ)
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
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
