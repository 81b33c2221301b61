"""CPU seconds of look-up and update of small tables by both backends, in turns, as JSON.

Arguments: turns, batch sizes. Ten tables of width 16 that a `backend: auto` just takes plain.
"""

from __future__ import annotations

import json
import sys
import time

import torch

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.model.embeddings_backend import make_embeddings
from recsys_mtl.model.embeddings_plain import FEW_VALUES

TABLES, WIDTH = 10, 16


def main() -> None:
    """Time both at each batch size."""
    turns, *sizes = map(int, sys.argv[1:])
    rows = FEW_VALUES // TABLES // WIDTH
    reads = [TableSpec(f"t{i}", rows, WIDTH) for i in range(TABLES)]
    seconds: dict[int, dict[str, list[float]]] = {}
    for size in sizes:
        backends = {name: make_embeddings(reads, backend=name) for name in ("plain", "torchrec")}
        seconds[size] = {name: [] for name in backends}
        gradient = torch.randn(size, TABLES * WIDTH)
        for turn in range(-2, turns):  # the first warm up
            bags = [((torch.rand(size) ** 3 * rows).long(), None) for _ in reads]
            for name, embeddings in backends.items():
                begun = time.process_time()
                embeddings(bags, size).backward(gradient)
                if turn >= 0:
                    seconds[size][name].append(time.process_time() - begun)
    print(json.dumps({"weights": rows * TABLES * WIDTH, "seconds": seconds}))


if __name__ == "__main__":
    main()
