"""How soon a streamed epoch begins, at its start and near its end; prints seconds as JSON.

Arguments: the Parquet file. The clock runs from asking the loader to its first batch: reading and
encoding one window of each lane. Fitting the preprocessing is not inside.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import ours

from recsys_mtl.data.prepare import prepare


def main() -> None:
    """Begin an epoch twice."""
    prepared = prepare(ours.config(Path(sys.argv[1]).resolve(), "fp32", "stream"))
    loader = prepared.loaders["train"]
    seconds = {}
    for name, start in (("first batch", 0), ("last batch", loader.num_batches - 1)):
        begun = time.perf_counter()
        with_rows = next(iter(loader.epoch(0, start)))
        seconds[name] = time.perf_counter() - begun
        assert with_rows.num_rows
    print(json.dumps({"rows": loader.num_rows, "batches": loader.num_batches, "seconds": seconds}))


if __name__ == "__main__":
    main()
