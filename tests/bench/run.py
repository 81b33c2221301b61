"""`make bench`: throughput beside a peer, and the memory of a streamed training.

Every timed process runs alone, the contestants take turns, and what is printed are medians over the
rounds and the ratios of one round to the peer's process beside it. The peer, torch-rechub, is
installed into .bench for this and nothing else. Prints a table and writes .bench/result.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import data  # noqa: E402

PEER = "torch-rechub==0.9.0"
WORK = Path(".bench")
CONTESTANTS = ("peer", "fp32", "bf16")


def main() -> None:
    """Run the asked benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contestant")
    parser.add_argument("--rows", type=int, default=131_072, help="rows of the throughput bench")
    parser.add_argument("--memory-rows", type=int, default=5_000_000, help="0 leaves it out")
    chosen = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    found: dict[str, Any] = {"machine": machine()}
    found["throughput"] = throughput(chosen.rounds, chosen.rows)
    if chosen.memory_rows:
        found["memory"] = memory(chosen.memory_rows)
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
