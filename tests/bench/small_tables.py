"""CPU seconds of look-up and update of small tables by both backends, in turns, as JSON.

Arguments: turns, batch sizes. Ten tables of width 16 that a `backend: auto` just takes plain, of
one id a row, and of sequences of five.
"""

from __future__ import annotations

import json
import sys
import time

import torch

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.features.block import Bag
from recsys_mtl.model.embeddings_backend import make_embeddings
from recsys_mtl.model.embeddings_plain import FEW_VALUES

TABLES, WIDTH, ENTRIES = 10, 16, 5
ROWS = FEW_VALUES // TABLES // WIDTH


def main() -> None:
    """Time both at each batch size."""
    turns, *sizes = map(int, sys.argv[1:])
    seconds = {
        f"{kind} of {size} rows": timed(size, turns, kind == "sequences")
        for size in sizes
        for kind in ("ids", "sequences")
    }
    print(json.dumps({"weights": ROWS * TABLES * WIDTH, "seconds": seconds}))


def timed(size: int, turns: int, sequences: bool) -> dict[str, list[float]]:
    """Of each backend, a number a turn."""
    pooling = "none" if sequences else "sum"
    reads = [TableSpec(f"t{i}", ROWS, WIDTH, pooling) for i in range(TABLES)]
    backends = {name: make_embeddings(reads, backend=name) for name in ("plain", "torchrec")}
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(-2, turns):  # the first two warm up
        bags = [bag(size, sequences) for _ in reads]
        for name, embeddings in backends.items():
            begun = time.process_time()
            pooled, vectors = embeddings.with_sequences(bags, size)
            outputs = vectors or [pooled]
            torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
            if turn >= 0:
                seconds[name].append(time.process_time() - begun)
    return seconds


def bag(size: int, sequences: bool) -> Bag:
    """Ids of so many rows, the first ones far more often than the last."""
    ids = (torch.rand(size * ENTRIES if sequences else size) ** 3 * ROWS).long()
    return ids, torch.full((size,), ENTRIES) if sequences else None


if __name__ == "__main__":
    main()
