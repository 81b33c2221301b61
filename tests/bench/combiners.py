"""What combining gradients costs: steps of one network by our path and by torchjd's, in turns.

The first argument says what is measured; the others are the Parquet file, rows of a batch,
precision, and for the rest see the functions below. Prints JSON. The network: sixteen tasks, 8
embedded ids of width 16, 13 numbers, 4 shared experts of [600, 128] (654,336 parameters) and 1 per
task of [128, 128].
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

os.environ["RECSYS_MTL_NATIVE"] = "0"  # torchjd maps over backward passes, as no kernel can
sys.path.insert(0, str(Path(__file__).parent))
import data
from combiners_table import PEERS
from torchjd_step import AGGREGATORS, WAYS, TorchjdStep

from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.gradients import Combined, Combiner
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step

IDS, BATCHES = 8, 3
OURS: dict[str, dict[str, Any]] = {
    "sum": {"name": "sum"},
    "cagt, fixed 8192": {"name": "cagt", "block": "fixed"},
    "cagt, expert": {"name": "cagt", "block": "expert"},
    "cagt, an eighth of the rows": {"name": "cagt", "rows": 8},
    "cagt, features": {"name": "cagt", "level": "features"},
    **{name: {"name": name} for name in AGGREGATORS},
}
"""The sections; of `rows` the share of a batch, one in so many."""
WAYS_TO_MEASURE: dict[str, dict[str, Any]] = {
    "all rows": {},
    "an eighth of the rows": {"rows": 8},
    "features": {"level": "features"},
}
Step = Callable[[Batch, int], Any]


class Bench:
    """Rows, and steps that begin with the same weights.

    Args:
        path: the Parquet file.
        batch_size: rows of a batch.
        precision: fp32 or bf16.
    """

    def __init__(self, path: str, batch_size: str, precision: str) -> None:
        self.path = Path(path).resolve()
        self.precision = precision
        self.batch_size = int(batch_size)
        prepared: Prepared = prepare(self._config({"name": "sum"}))
        self.spec = prepared.preprocessor.spec
        epoch = prepared.loaders["train"].epoch(0)
        self.batches = [b for b in epoch if b.num_rows == self.batch_size][:BATCHES]
        assert len(self.batches) == BATCHES, "too few rows"

    def ours(self, method: str) -> TrainingStep:
        """The step of an entry of `OURS`."""
        return self._step(OURS[method])

    def measuring(self, way: str) -> TrainingStep:
        """The plain step that also measures cosines, by an entry of `WAYS_TO_MEASURE`."""
        return self._step({"name": "sum", "diagnostics": 1} | WAYS_TO_MEASURE[way])

    def torchjd(self, method: str, way: str) -> TorchjdStep:
        """The step of an aggregator and an entry of `WAYS`."""
        return TorchjdStep(self._step({"name": "sum"}), method, WAYS[way], seed=0)

    def _step(self, combiner: dict[str, Any]) -> TrainingStep:
        if "rows" in combiner:
            combiner = combiner | {"rows": self.batch_size // combiner["rows"]}
        config = self._config(combiner)
        torch.manual_seed(0)
        network = build_network(config, self.spec)
        network.train()
        return build_step(config, network, torch.device("cpu"))

    def _config(self, combiner: dict[str, Any]) -> Config:
        ids, rest = data.ID_COLUMNS[:IDS], data.ID_COLUMNS[IDS:]
        return Config.model_validate(
            {
                "name": "bench",
                "seed": 0,
                "data": {
                    "path": self.path.name,
                    "root": str(self.path.parent),
                    "split": {"kind": "fraction", "valid": 0.01, "test": 0.01},
                    "loading": "memory",
                    "leakage_threshold": 1.0,
                    "ignore": rest,
                },
                "features": {c: {"kind": "categorical"} for c in ids}
                | {c: {"kind": "numeric", "transform": "standardize"} for c in data.NUMBER_COLUMNS},
                "tasks": {t: {"kind": "binary"} for t in data.task_columns(self.path)},
                "model": {
                    "embedding": {"dim": 16},
                    "shared_experts": [{"kind": "mlp", "count": 4, "hidden": [600, 128]}],
                    "task_experts": [{"kind": "mlp", "count": 1, "hidden": [128, 128]}],
                    "tower": {"hidden": [64, 32]},
                },
                "combiner": combiner,
                "training": {"batch_size": self.batch_size, "precision": self.precision},
            }
        )


def steps(bench: Bench, rounds: str) -> dict[str, Any]:
    """Seconds of a step, turn by turn: every way of ours, each beside torchjd's fastest two."""
    made: dict[str, Step] = {}
    for method in OURS:
        made[method] = bench.ours(method)
        if method in AGGREGATORS:
            made |= {f"{method}, {p}": bench.torchjd(method, way) for p, way in PEERS.items()}
    return _turns(bench, made, int(rounds))


def ways(bench: Bench, rounds: str) -> dict[str, Any]:
    """Seconds of a step by all the ways to ask torchjd for UPGrad, and ours."""
    made: dict[str, Step] = {"ours": bench.ours("upgrad")}
    return _turns(bench, made | {way: bench.torchjd("upgrad", way) for way in WAYS}, int(rounds))


def _turns(bench: Bench, made: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(rounds + 1):  # the first one warms up
        for name, step in made.items():
            begun = time.perf_counter()
            step(bench.batches[turn % BATCHES], turn)
            if turn:
                seen[name].append(time.perf_counter() - begun)
    return seen


def agree(bench: Bench) -> dict[str, float]:
    """By method and path of torchjd: the largest difference after one step.

    It is that of any dense parameter's gradient or any embedding, over the tensor's largest entry.
    """
    results = {}
    for method in AGGREGATORS:
        mine = _after_one(bench, bench.ours(method))
        for way in WAYS:
            theirs = _after_one(bench, bench.torchjd(method, way))
            assert mine.keys() == theirs.keys()
            differences = [
                float((theirs[key] - value).abs().max() / value.abs().max())
                for key, value in mine.items()
            ]
            results[f"{method}, {way}"] = max(differences)
    return results


def _after_one(bench: Bench, step: TrainingStep | TorchjdStep) -> dict[str, Tensor]:
    torch.manual_seed(1)  # dropout
    step(bench.batches[0], 0)
    network = (step.step if isinstance(step, TorchjdStep) else step).network
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    tables = network.embeddings.weights()
    return gradients | {f"table {i}": table.detach() for i, table in enumerate(tables)}


def cosines(bench: Bench, steps: str) -> dict[str, Any]:
    """The cosines of pairs of tasks by way, step by step of one plain training."""
    seen: dict[str, list[list[float]]] = {}
    for way in WAYS_TO_MEASURE:
        step, seen[way] = bench.measuring(way), []
        torch.manual_seed(1)  # dropout
        for number in range(int(steps)):
            step(bench.batches[number % BATCHES], number)
            assert step.combining is not None
            diagnostics = step.combining.diagnostics()
            assert diagnostics is not None
            pairs = diagnostics["pair_cosine"]
            seen[way].append([c for i, row in enumerate(pairs) for c in row[:i]])
    return seen


def memory(bench: Bench, method: str, way: str) -> dict[str, float]:
    """MiB that two steps need at most, above what is there before; `way` is `ours` or torchjd's.

    For this process only.
    """
    step: Step = bench.ours(method) if way == "ours" else bench.torchjd(method, way)
    before, peak = psutil.Process().memory_info().rss, _peak()
    for number, batch in enumerate(bench.batches[:2]):
        step(batch, number)
    assert _peak() > peak, "preparing needs more than the steps, so nothing is measured"
    return {"mib": (_peak() - before) / 2**20, "before_mib": before / 2**20}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def passes(bench: Bench, method: str) -> dict[str, float]:
    """What `combine` does with the gradients G of all tasks.

    Elements that its operations read and write, small matrices included, over G's; and its time
    over that of a plain pass, G.sum(). A product of G with itself counts as two readings.
    """
    taken: dict[str, Any] = {}
    usual = Combiner.combine

    def combine(self: Combiner, rows: list[Tensor], present: Tensor, *, step: int) -> Combined:
        taken.update(rows=rows, present=present)
        return usual(self, rows, present, step=step)

    step = bench.ours(method)
    assert step.combining is not None
    Combiner.combine = combine  # type: ignore[method-assign]
    step(bench.batches[0])
    Combiner.combine = usual  # type: ignore[method-assign]
    rows, present, combiner = taken["rows"], taken["present"], step.combining.combiner
    size = sum(part.numel() for part in rows)
    with Traffic() as traffic:
        combiner.combine(rows, present, step=0)
    ratios, plain = [], []
    for _ in range(10):
        begun = time.perf_counter()
        combiner.combine(rows, present, step=0)
        middle = time.perf_counter()
        sum(part.sum() for part in rows)
        plain.append(time.perf_counter() - middle)
        ratios.append((middle - begun) / plain[-1])
    return {
        "elements": size,
        "reads": traffic.read / size,
        "writes": traffic.written / size,
        "plain_pass_ms": 1000 * statistics.median(plain),
        "time_in_plain_passes": statistics.median(ratios),
    }


class Traffic(TorchDispatchMode):
    """Counts the elements that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.read = self.written = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not func.is_view and "empty" not in func.name():
            flat = torch.utils._pytree.tree_leaves((args, kwargs))
            self.read += sum(x.numel() for x in flat if isinstance(x, Tensor))
            out = torch.utils._pytree.tree_leaves(result)
            self.written += sum(x.numel() for x in out if isinstance(x, Tensor))
        return result


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "steps": steps,
    "ways": ways,
    "agree": agree,
    "cosines": cosines,
    "memory": memory,
    "passes": passes,
}


def main() -> None:
    """Measure what is asked for."""
    what, path, batch_size, precision, *rest = sys.argv[1:]
    print(json.dumps(MEASURES[what](Bench(path, batch_size, precision), *rest)))


if __name__ == "__main__":
    main()
