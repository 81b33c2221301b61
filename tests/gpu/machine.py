"""The device of a run, its name, and time on it."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch


def pick() -> torch.device:
    """The device of the command line, else CUDA, else the CPU; products in full float32."""
    named = sys.argv[sys.argv.index("--device") + 1] if "--device" in sys.argv else None
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(named or ("cuda" if torch.cuda.is_available() else "cpu"))


def name_of(device: torch.device) -> str:
    """The card's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def wait(device: torch.device) -> None:
    """Until all that was launched is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device, *, times: int = 20) -> float:
    """Median of three means over `times` calls, after a warm-up."""
    for _ in range(3):
        work()
    means = []
    for _ in range(3):
        wait(device)
        begun = time.perf_counter()
        for _ in range(times):
            work()
        wait(device)
        means.append((time.perf_counter() - begun) / times)
    return statistics.median(means)


def row(*cells: object) -> None:
    """A line of the table that the run prints."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
