"""Does a step, or a batch of rows held on the device, wait for it?

On CUDA an error where it does, on a CPU by its operations.
"""

from __future__ import annotations

import sys

import torch

from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.data.on_device import HeldLoader
from tests.gpu.machine import name_of, pick, row, wait
from tests.gpu.steps import sixteen, sixteen_rows, small_rows
from tests.training.launches import Launches


def main() -> None:
    """Five plain steps, and five batches with lists."""
    device = pick()
    size = (16_384, 10_000) if device.type == "cuda" else (256, 100)
    held = HeldLoader(MemoryLoader(small_rows(0, 160), batch_size=16, shuffle=True, seed=0), device)
    batches = held.epoch(0)
    next(batches)  # the order is moved
    step, batch = sixteen(device, *size, "fp32"), sixteen_rows(*size).to(device)
    for number in range(3):
        step(batch, number)
    wait(device)
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
        results = [step(batch, number) for number in range(3, 8)]
        taken = [next(batches) for _ in range(5)]
        torch.cuda.set_sync_debug_mode("default")
        assert all(bool(result.updated) for result in results)
        assert all(rows.num_rows == 16 for rows in taken)
    with Launches() as counted:
        step(batch, 8)
    row("no waiting", name_of(device), f"{counted.counts.total()} operations a step")


if __name__ == "__main__":
    sys.exit(main())
