"""Steps and forward passes with the native kernel beside torch's operations, over their floor.

Arguments: the Parquet file, rounds, shapes (`large`, `small`). Prints CPU seconds of every turn as
JSON. The floor is the time of the matrix products of the experts, gates and towers alone: forward,
and both of backward in a step. `large` is the throughput bench's network in batches of 2,048,
`small` has five tasks, six ids, four numbers and experts of [64, 32] in batches of 512. A step of
8 rows takes what no arithmetic takes: the operations by themselves, and what grows with parameters.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import data
from ours import config

from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.model import GroupedLinear, MultiTaskNetwork, grouped
from recsys_mtl.model.device import autocast
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step

Ways = dict[str, Callable[[], object]]
_kernels = grouped.usable_kernels


def shape(path: Path, name: str, precision: str) -> Config:
    """The large or the small run."""
    base = config(path, precision, "memory").model_dump()
    base["training"] |= {"batch_size": 2048 if name == "large" else 512}
    if name == "small":
        for bank in ("shared_experts", "task_experts"):
            base["model"][bank][0]["hidden"] = [64, 32]
        columns = [*data.ID_COLUMNS[:6], *data.NUMBER_COLUMNS[:4]]
        base["features"] = {column: base["features"][column] for column in columns}
        base["tasks"] = dict(list(base["tasks"].items())[:5])
        base["data"]["ignore"] = [
            *data.ID_COLUMNS[6:],
            *data.NUMBER_COLUMNS[4:],
            *data.task_columns(path)[5:],
        ]
    return Config.model_validate(base)


def products(network: MultiTaskNetwork, rows: int, dtype: torch.dtype) -> dict[str, Ways]:
    """The matrix products of a step and of a forward pass."""
    forward, backward = [], []
    linears = [m for m in network.modules() if isinstance(m, GroupedLinear)]
    for groups, outputs, inputs in (tuple(m.weight.shape) for m in linears):
        x, d = torch.randn(rows, inputs).to(dtype), torch.randn(rows, outputs).to(dtype)
        w = torch.randn(outputs, inputs).to(dtype)
        forward += [(x, w.T)] * groups
        backward += [(d, w), (d.T, x)] * groups

    def run(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        for a, b in pairs:
            torch.mm(a, b)

    return {
        "step": {"floor": lambda: run(forward + backward)},
        "predict": {"floor": lambda: run(forward)},
    }


def ways(run: Config) -> dict[str, Ways]:
    """By work, what takes turns."""
    prepared, rows = prepare(run), run.training.batch_size
    batch = next(b for b in prepared.loaders["train"].epoch(0) if b.num_rows == rows)
    torch.manual_seed(0)
    network = build_network(run, prepared.preprocessor.spec)
    step, precision = build_step(run, network, torch.device("cpu")), run.training.precision
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    made = products(network, rows, dtype)

    @torch.no_grad()
    def predict() -> object:
        network.eval()
        with autocast(precision, torch.device("cpu")):
            return network(batch)

    def train() -> object:
        network.train()
        return step(batch)

    for work, function in (("step", train), ("predict", predict)):
        for name, kernels in (("eager", lambda x: None), ("kernel", _kernels)):
            made[work][name] = _with(kernels, function)
    few = batch.select(torch.arange(8))
    made["step"]["kernel, 8 rows"] = _with(_kernels, lambda: step(few))
    return made


def _with(kernels: Any, function: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        grouped.usable_kernels = kernels
        return function()

    return run


def main() -> None:
    """Take turns and print what each took."""
    path, rounds, names = Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:]
    seen: dict[str, dict[str, list[float]]] = {}
    for name in names:
        for precision in ("fp32", "bf16"):
            for work, turns in ways(shape(path, name, precision)).items():
                repeats = 1 if name == "large" else 10
                seconds: dict[str, list[float]] = {way: [] for way in turns}
                for turn in range(rounds + 1):  # the first one warms up
                    for way, function in turns.items():
                        begun = time.process_time()
                        for _ in range(repeats):
                            function()
                        if turn:
                            seconds[way].append((time.process_time() - begun) / repeats)
                seen[f"{name} {precision} {work}"] = seconds
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
