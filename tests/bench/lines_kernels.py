"""Lines of the bench about the native kernels."""

from __future__ import annotations

import statistics
from argparse import Namespace
from typing import Any

import workers


def kernels(asked: Namespace) -> dict[str, Any]:
    """Steps and forward passes, with and without the kernels, over their matrix products."""
    path = str(workers.rows(asked.rows, tasks=16))
    result = workers.worker("kernels.py", path, str(asked.rounds), "large", "small", threads=1)
    print(f"\nnative kernels, one thread, median of {asked.rounds} rounds, {workers.machine()}")
    ratios: dict[str, dict[str, float]] = {}
    for name, seconds in result.items():
        floor = seconds["floor"]
        ratios[name] = {
            way: statistics.median(a / b for a, b in zip(values, floor, strict=True))
            for way, values in seconds.items()
        }
        shown = ", ".join(
            f"{way} {1000 * statistics.median(values):,.1f} ms ({ratios[name][way]:.2f} x)"
            for way, values in seconds.items()
        )
        print(f"  {name:20} {shown}")
    return {"seconds": result, "ratio_to_floor": ratios}
