"""What every line of the bench uses: its data, its worker processes, the peer."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import data

HERE = Path(__file__).parent
WORK = Path(".bench")
PEER = "torch-rechub==0.9.0"


def worker(
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


def rows(number: int, *, tasks: int) -> Path:
    """A Parquet file of so many rows, 26 ids, 13 numbers and a label of each task."""
    path = (WORK / f"rows-{number}-{tasks}.parquet").resolve()
    return path if path.exists() else data.write(path, number, tasks)


def machine() -> str:
    """What the figures were measured on."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def peer() -> Path:
    """Where the peer is installed, for `path_of_peer`."""
    target = (WORK / "peer").resolve()
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
        subprocess.run([*pip, PEER], check=True)
    return target
