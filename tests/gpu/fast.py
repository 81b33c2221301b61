"""How fast is a step? Beside its floor: its matrix products by themselves, and mandatory bytes.

The products are timed by their very shapes, one after another. Mandatory bytes, at the bandwidth
of a copy: every output of a product five times (written and read between two products, and for
backward read and its gradient read and written), the tables' rows five times, and 28 bytes a dense
parameter for AdamW.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.run import capture_dense, compile_dense
from tests.gpu.machine import name_of, pick, row, seconds
from tests.gpu.steps import TABLES, sixteen, sixteen_rows

_Shape = tuple[str, torch.dtype, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]]


class Products(TorchDispatchMode):
    """The matrix products of a step by shapes and strides; those of the forward pass are first."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[_Shape] = Counter()
        self.outputs = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            pair = [a for a in args if isinstance(a, Tensor)][-2:]
            layouts = tuple((tuple(a.shape), tuple(a.stride())) for a in pair)
            self.shapes[("bmm" if "bmm" in name else "mm", pair[0].dtype, layouts)] += 1
            if "add" in name:  # of the forward pass
                self.outputs += result.nbytes
        return result


def products_of(step: TrainingStep, batch: Any) -> Products:
    """Of one step."""
    with Products() as products:
        step(batch, 3)
    return products


def time_of(products: Products, device: torch.device) -> float:
    """Seconds of all of them."""
    total = 0.0
    for (name, dtype, layouts), count in products.shapes.items():
        a, b = (
            torch.randn(1 + sum((n - 1) * s for n, s in zip(*layout, strict=True)), device=device)
            .to(dtype)
            .as_strided(*layout)
            for layout in layouts
        )
        product: Callable[[Tensor, Tensor], Tensor] = getattr(torch, name)
        total += count * seconds(lambda: product(a, b), device, times=5)  # noqa: B023
    return total


def bandwidth(device: torch.device) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.empty((1 << 28) if device.type == "cuda" else (1 << 24), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device, times=5)


def mandatory(step: TrainingStep, rows: int, products: Products) -> int:
    """Bytes of a step that no implementation saves."""
    dense = sum(p.numel() for p in step.network.dense_parameters())
    return 5 * products.outputs + 5 * rows * TABLES * 16 * 4 + 28 * dense


def kernels(step: TrainingStep, batch: Any, device: torch.device) -> str:
    """Launched by a step."""
    if device.type != "cuda":
        return "-"
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step(batch, 4)
        torch.cuda.synchronize()
    return str(sum(event.count for event in profile.key_averages()))


def compiled(step: TrainingStep) -> TrainingStep:
    """The same with its dense part compiled."""
    compile_dense(step.network)
    return step


def captured(step: TrainingStep) -> TrainingStep:
    """The same with its dense part as CUDA graphs."""
    capture_dense(step.network)
    return step


LATEST = 130.0
"""Seconds after which no measurement begins."""
WAYS: dict[str, Callable[[TrainingStep], TrainingStep]] = {
    "eager": lambda step: step,
    "compiled": compiled,
    "captured": captured,
}


def measure(device: torch.device, rows: int, precision: str, ways: list[str], rate: float) -> int:
    """A line for each way; how many fail."""
    table_rows, failed = (100_000 if device.type == "cuda" else 1_000), 0
    batch = sixteen_rows(rows, table_rows).to(device)
    floor = 0.0
    for way in ways:
        try:
            torch._dynamo.reset()
            step = sixteen(device, rows, table_rows, precision)
            for number in range(3):
                step(batch, number)
            if not floor:
                products = products_of(step, batch)
                floor = time_of(products, device) + mandatory(step, rows, products) / rate
            step = WAYS[way](step)

            def run(step: TrainingStep = step) -> None:
                if device.type == "cuda":
                    torch.compiler.cudagraph_mark_step_begin()
                step(batch, 4)

            took = seconds(run, device, times=20 if device.type == "cuda" else 2)
            row(
                *(
                    f"{rows:,}",
                    precision,
                    way,
                    f"{took * 1e3:.2f} ms",
                    f"{rows / took:,.0f} rows/s",
                ),
                *(f"{kernels(step, batch, device)} kernels", f"{took / floor:.2f} x floor"),
            )
        except Exception as error:  # noqa: BLE001  the other ways are still measured
            failed += 1
            row(
                f"{rows:,}",
                precision,
                way,
                "FAIL",
                type(error).__name__,
                str(error)[:120].replace("\n", " "),
            )
    return failed


def main() -> int:
    """How many measurements failed."""
    device, begun = pick(), time.perf_counter()
    rate = bandwidth(device)
    row("batch", name_of(device), f"copies {rate / 1e9:,.0f} GB/s")
    if device.type != "cuda":
        return measure(device, 256, "fp32", ["eager"], rate)
    sizes, precisions, failed = (16_384, 2_048, 65_536), ("bf16", "fp32"), 0
    first = [(rows, precision, "eager") for rows in sizes for precision in precisions]
    first += [(16_384, "bf16", way) for way in ("compiled", "captured")]
    rest = [(r, p, w) for r in sizes for p in precisions for w in WAYS if (r, p, w) not in first]
    for rows, precision, way in first + rest:
        if time.perf_counter() - begun > LATEST:
            row(f"{rows:,}", precision, way, "left out: no time left")
        else:
            failed += measure(device, rows, precision, [way], rate)
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main()))
