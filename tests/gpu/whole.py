"""Does a whole training run? The demo's rows and config, tracking off; its memory at the most."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from recsys_mtl.cli.script import run_commands
from tests.gpu.machine import name_of, pick, row

COMMANDS = (
    "synthesize demo --rows {rows} --out {out}/data",
    "train configs/demo.yaml --data {out}/data --out {out}/run --set tracking.enabled=false "
    "--set training.device={device} --set model.embedding.backend=plain "
    "--set training.epochs={epochs}",
)


def main() -> int:
    """The exit code of the first command that fails."""
    device = pick()
    on_gpu = device.type == "cuda"
    rows, epochs = (60_000, 5) if on_gpu else (4_000, 1)
    with tempfile.TemporaryDirectory() as folder:
        out, begun = Path(folder), time.perf_counter()
        names = {"out": out, "rows": rows, "device": device.type, "epochs": epochs}
        if status := run_commands(COMMANDS, **names):
            return status
        result = json.loads((out / "run" / "result.json").read_text())
        took = time.perf_counter() - begun
    peak = (
        torch.cuda.max_memory_allocated(device)
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    epoch = result["training"]["epochs"][-1]
    speed = epoch["rows"] / epoch["seconds"]
    row("demo", name_of(device), f"{took:.0f} s", f"{speed:,.0f} rows/s", f"{peak >> 20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
