"""torch-rechub's PLE scores the same rows; prints rows/s as JSON.

Arguments: the Parquet file. The clock runs from opening the file to the last prediction in memory;
ours also writes them. As in `peer.py`, ids and numbers are handed over as read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pandas as pd
from torch.utils.data import DataLoader
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import PredictDataset

sys.path.insert(0, str(Path(__file__).parent))
import data
import peer


def main() -> None:
    """Score all rows and print what it took."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    path = Path(sys.argv[1])
    tasks = data.task_columns(path)
    model = peer.network(tasks)
    trainer = MTLTrainer(model, ["classification"] * len(tasks), n_epoch=1)
    began, cpu = time.perf_counter(), time.process_time()
    frame = pd.read_parquet(path)
    x = {c: frame[c].to_numpy() for c in (*data.ID_COLUMNS, *data.NUMBER_COLUMNS)}
    loader = DataLoader(PredictDataset(x), batch_size=2048)
    scores = trainer.predict(model, loader)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert len(scores) == len(frame)
    speeds = {
        "rows_per_second": len(frame) / seconds,
        "rows_per_cpu_second": len(frame) / cpu,
    }
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
