"""Seconds of a matrix product and of a step, alone and while another process keeps a core busy.

Arguments: the Parquet file, precision, threads, seconds of each. How threads wait is in the
environment. Prints JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import ours
import torch

from recsys_mtl.data.prepare import prepare
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step

LEAST = 3
SIZE = 1024
BUSY = [sys.executable, "-c", "while True: pass"]


def median(work: Callable[[], object], least: float) -> float:
    """Median seconds of a call, of at least `LEAST` calls and so many seconds."""
    work()
    seen: list[float] = []
    while len(seen) < LEAST or sum(seen) < least:
        begun = time.perf_counter()
        work()
        seen.append(time.perf_counter() - begun)
    return statistics.median(seen)


def main() -> None:
    """Time both, then the step once more beside a busy process."""
    path, precision = Path(sys.argv[1]).resolve(), sys.argv[2]
    threads, least = int(sys.argv[3]), float(sys.argv[4])
    config = ours.config(path, precision, "memory")
    prepared = prepare(config)
    torch.set_num_threads(threads)
    batch = next(iter(prepared.loaders["train"].epoch(0)))
    network = build_network(config, prepared.preprocessor.spec)
    network.train()
    step = build_step(config, network, torch.device("cpu"))
    matrix = torch.randn(SIZE, SIZE)
    result = {
        "product": median(lambda: matrix @ matrix, least),
        "step": median(lambda: step(batch), least),
    }
    with subprocess.Popen(BUSY) as other:
        try:
            result["step beside a busy process"] = median(lambda: step(batch), least)
        finally:
            other.kill()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
