"""Does a step wait for the device? On CUDA an error where it does, on a CPU by its operations."""

from __future__ import annotations

import sys

import torch

from tests.gpu.machine import name_of, pick, row, wait
from tests.gpu.steps import sixteen, sixteen_rows
from tests.training.launches import Launches


def main() -> None:
    """Five plain steps."""
    device = pick()
    size = (16_384, 10_000) if device.type == "cuda" else (256, 100)
    step, batch = sixteen(device, *size, "fp32"), sixteen_rows(*size).to(device)
    for number in range(3):
        step(batch, number)
    wait(device)
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
        results = [step(batch, number) for number in range(3, 8)]
        torch.cuda.set_sync_debug_mode("default")
        assert all(bool(result.updated) for result in results)
    with Launches() as counted:
        step(batch, 8)
    row("no waiting", name_of(device), f"{counted.counts.total()} operations a step")


if __name__ == "__main__":
    sys.exit(main())
