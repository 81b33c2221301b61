"""How soon a streamed epoch begins, at its start and near its end; prints seconds as JSON.

Arguments: the Parquet file. The clock runs from asking the loader to its first batch: reading and
encoding one window of each lane; for `read through`, to the last batch of an epoch from its start,
which a resumed training would wait for if it could not seek. Fitting the preprocessing is not
inside.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from pathlib import Path

import ours

from recsys_mtl.data.prepare import prepare


def main() -> None:
    """Begin an epoch twice, and read one through."""
    prepared = prepare(ours.config(Path(sys.argv[1]).resolve(), "fp32", "stream"))
    loader = prepared.loaders["train"]
    last = loader.num_batches - 1
    seconds = {}
    for name, start in (("first batch", 0), ("last batch", last), ("read through", 0)):
        begun = time.perf_counter()
        batches = loader.epoch(0, start)
        batch = deque(batches, 1)[0] if name == "read through" else next(batches)
        seconds[name] = time.perf_counter() - begun
        assert batch.num_rows
    print(json.dumps({"rows": loader.num_rows, "batches": loader.num_batches, "seconds": seconds}))


if __name__ == "__main__":
    main()
