"""One epoch of recsys_mtl, from the Parquet file to the trained network; prints rows/s as JSON.

Arguments: the Parquet file, precision (fp32 or bf16), `memory` or `stream` (there with a smaller
network: streaming is what is measured).
The clock runs from opening the file to the last step: reading, fitting the preprocessing, encoding,
shuffling and training are inside, importing libraries is not.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.wiring.trainer import fit_network

sys.path.insert(0, str(Path(__file__).parent))
import data


def config(path: Path, precision: str, loading: str) -> Config:
    """The benchmark's shape: one CGC level, 4 shared experts and 1 per task."""
    hidden = [256, 128] if loading == "memory" else [64, 32]
    return Config.model_validate(
        {
            "name": "bench",
            "data": {
                "path": path.name,
                "root": str(path.parent),
                "split": {"kind": "fraction", "valid": 0.001, "test": 0.001},
                "loading": loading,
                "leakage_threshold": 1.0,
            },
            "features": {c: {"kind": "categorical"} for c in data.ID_COLUMNS}
            | {c: {"kind": "numeric", "transform": "standardize"} for c in data.NUMBER_COLUMNS},
            "tasks": {t: {"kind": "binary"} for t in data.task_columns(path)},
            "model": {
                "embedding": {"dim": 16},
                "shared_experts": [{"kind": "mlp", "count": 4, "hidden": hidden}],
                "task_experts": [{"kind": "mlp", "count": 1, "hidden": hidden}],
                "tower": {"hidden": [64, 32]},
                "dropout": 0.1,
                "tower_dropout": 0.1,
            },
            "training": {
                "recipe": "none",
                "epochs": 1,
                "batch_size": 2048,
                "precision": precision,
            },
        }
    )


def main() -> None:
    """Train one epoch and print what it took."""
    path, precision, loading = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
    run = config(path, precision, loading)
    begun = time.perf_counter()
    prepared = prepare(run)
    ready = time.perf_counter()
    fitted = fit_network(run, prepared)
    rows = fitted.result.epochs[0].rows
    training = fitted.result.epochs[0].seconds
    print(
        json.dumps(
            {
                "rows_per_second": rows / (ready - begun + training),
                "training_rows_per_second": rows / training,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
