"""Does a whole training run? The demo's rows and config, tracking off; its memory at the most.

Again with rows from the host, and on CUDA with graphs: how far the first epoch's losses differ.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from recsys_mtl.cli.script import run_commands
from tests.gpu.machine import name_of, pick, row

DATA = "synthesize demo --rows {rows} --out {out}/data"
TRAIN = (
    "train configs/demo.yaml --data {out}/data --out {out}/{name} --set tracking.enabled=false "
    "--set training.device={device} --set model.embedding.backend=plain "
    "--set training.epochs={epochs} --set {key}"
)
RUNS = {
    "held": "data.rows_on=device",
    "host": "data.rows_on=host",
    "graph": "training.compile=graph",
}
LATEST = 45.0
"""Seconds after which no further training begins."""


def train(run: str, out: Path, names: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and result of a training."""
    status = run_commands((TRAIN,), out=out, name=run, key=RUNS[run], **names)
    return status, {} if status else json.loads((out / run / "result.json").read_text())


def apart(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Largest difference of the first epoch's losses."""
    first, second = (result["training"]["epochs"][0]["train_losses"] for result in (one, other))
    return f"{max(abs(first[task] - second[task]) for task in first):.1e}"


def speed(result: dict[str, Any]) -> str:
    """Of the last epoch."""
    epoch = result["training"]["epochs"][-1]
    return f"{epoch['rows'] / epoch['seconds']:,.0f} rows/s"


def main() -> int:
    """The exit code of the first command that fails."""
    device = pick()
    on_gpu = device.type == "cuda"
    rows, epochs = (60_000, 3) if on_gpu else (4_000, 1)
    with tempfile.TemporaryDirectory() as folder:
        out, begun = Path(folder), time.perf_counter()
        if status := run_commands((DATA,), rows=rows, out=out):
            return status
        names: dict[str, Any] = {"device": device.type, "epochs": epochs}
        status, result = train("held", out, names)
        if status:
            return status
        took = time.perf_counter() - begun
        peak = (
            torch.cuda.max_memory_allocated(device)
            if on_gpu
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
        row("demo", name_of(device), f"{took:.0f} s", speed(result), f"{peak >> 20} MiB")
        for run in ("host", "graph") if on_gpu else ("host",):
            if time.perf_counter() - begun > LATEST:
                row(run, "left out: no time left")
                continue
            failed, other = train(run, out, names)
            status |= failed
            if not failed:
                row(run, speed(other), f"first epoch's losses differ by {apart(result, other)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
