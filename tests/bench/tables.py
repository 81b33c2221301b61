"""Peak memory of what is done with large tables, in sizes of the tables.

Arguments: the backend, thousands of rows. Four tables of width 64; prints JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.memory import peak_memory_mb, reset_peak_memory
from recsys_mtl.model.embeddings_backend import make_embeddings
from recsys_mtl.tensor_file import save_tensors
from recsys_mtl.training.best import Best

TABLES, WIDTH = 4, 64


def main() -> None:
    """Initialise tables, keep them as the best epoch's, bring them back and write them."""
    backend, rows = sys.argv[1], int(sys.argv[2]) * 1000
    size = rows * WIDTH * 4 / 2**20

    def over(work: Callable[[], object]) -> float:
        reset_peak_memory()
        before = peak_memory_mb()
        work()
        return (peak_memory_mb() - before) / size

    def made(count: int) -> object:
        tables = [TableSpec(f"t{i}", count // TABLES, WIDTH) for i in range(TABLES)]
        return make_embeddings(tables, backend=backend)

    made(1000)  # imports
    held: list[object] = []
    result = {"initialise": over(lambda: held.append(made(rows)))}
    (tables,) = held
    best = Best(tables, larger_is_better=True, min_delta=0.0, keep_weights=True)
    result["keep the best"] = over(lambda: best.update(0, 1.0))
    result["bring it back"] = over(best.restore)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tables.safetensors"
        result["write"] = over(lambda: save_tensors(path, tables.state_dict()))
    print(json.dumps({"mib": size, "over": result}))


if __name__ == "__main__":
    main()
