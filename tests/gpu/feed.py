"""Does a step get the right rows, and soon? From the host, copied beside it, and held there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain, count

import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import Loader, MemoryLoader
from recsys_mtl.data.on_device import CopiedLoader, HeldLoader
from tests.gpu.machine import name_of, pick, row, seconds
from tests.gpu.steps import sixteen, sixteen_rows, small_rows

WAYS: dict[str, Callable[[MemoryLoader, torch.device], Loader]] = {
    "from the host": lambda loader, device: loader,
    "copied beside": CopiedLoader,
    "held there": HeldLoader,
}


def memory(rows: Batch, size: int) -> MemoryLoader:
    """Of these rows."""
    return MemoryLoader(rows, batch_size=size, shuffle=True, seed=1)


def wrong(way: str, device: torch.device) -> int:
    """Batches of two epochs that differ, lists included, while the device is busy."""
    here = memory(small_rows(0, 4_000), 256)
    there = WAYS[way](here, device)
    load, differ = torch.randn(1 << 11, 1 << 11, device=device), 0
    for epoch in range(2):
        for batch, expected in zip(there.epoch(epoch), here.epoch(epoch), strict=True):
            if device.type == "cuda":
                for _ in range(20):
                    load @ load
            kept = [tensor.clone() for tensor in batch.to(device).tensors()]
            differ += not all(map(same, kept, expected.tensors()))
    return differ


def same(there: Tensor, here: Tensor) -> bool:
    """Bit for bit."""
    return torch.equal(there.cpu().nan_to_num(0.5), here.nan_to_num(0.5))


def forever(loader: Loader) -> Iterator[Batch]:
    """Its batches, epoch after epoch."""
    return chain.from_iterable(map(loader.epoch, count()))


def main() -> int:
    """How many ways give wrong rows or none."""
    device, failed = pick(), 0
    on_gpu = device.type == "cuda"
    size, table_rows = (16_384, 100_000) if on_gpu else (256, 1_000)
    step = sixteen(device, size, table_rows, "bf16" if on_gpu else "fp32")
    rows = memory(sixteen_rows(8 * size, table_rows), size)
    for way, make in WAYS.items():
        if make is CopiedLoader and not on_gpu:
            row(way, "skipped: on CUDA only")
            continue
        try:
            differ = wrong(way, device)
            batches = forever(make(rows, device))
            took = [
                seconds(work, device, times=8)
                for work in (
                    lambda: next(batches).to(device),  # noqa: B023
                    lambda: step(next(batches).to(device), 1),  # noqa: B023
                )
            ]
        except Exception as error:  # noqa: BLE001  the other ways are still tried
            row(way, "FAIL", type(error).__name__, str(error).splitlines()[0][:100])
            failed += 1
            continue
        failed += bool(differ)
        right = f"{differ} batches WRONG" if differ else "the same rows"
        row(way, name_of(device), right, *(f"{1e3 * s:.2f} ms" for s in took), "batch, with step")
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main()))
