"""One epoch of torch-rechub's PLE on the same rows and shape; prints rows/s as JSON.

Arguments: the Parquet file. The clock runs from opening the file to the last step, as in `ours.py`.
The peer has no preprocessing of Parquet of its own: ids and numbers are handed over as read, which
spares it what ours does.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import PLE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

sys.path.insert(0, str(Path(__file__).parent))
import data


def network(tasks: list[str]) -> PLE:
    """The benchmark's shape, as in `ours.py`, before training."""
    torch.manual_seed(0)
    features = [SparseFeature(c, vocab_size=data.VOCABULARY, embed_dim=16) for c in data.ID_COLUMNS]
    features += [DenseFeature(c) for c in data.NUMBER_COLUMNS]
    return PLE(
        features,
        ["classification"] * len(tasks),
        n_level=1,
        n_expert_specific=1,
        n_expert_shared=4,
        expert_params={"dims": [256, 128], "dropout": 0.1},
        tower_params_list=[{"dims": [64, 32], "dropout": 0.1}] * len(tasks),
    )


def main() -> None:
    """Train one epoch and print what it took."""
    begun = time.perf_counter()
    frame = pd.read_parquet(sys.argv[1])
    x = {c: frame[c].to_numpy() for c in data.ID_COLUMNS}
    x |= {c: frame[c].to_numpy() for c in data.NUMBER_COLUMNS}
    tasks = data.task_columns(Path(sys.argv[1]))
    y = frame[tasks].to_numpy()
    model = network(tasks)
    loader = DataGenerator(x, y).generate_dataloader(
        x_val=x, y_val=y, x_test=x, y_test=y, batch_size=2048
    )[0]
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        trainer = MTLTrainer(model, ["classification"] * len(tasks), n_epoch=1)
        started = time.perf_counter()
        trainer.train_one_epoch(loader)
    ended = time.perf_counter()
    print(
        json.dumps(
            {
                "rows_per_second": len(frame) / (ended - begun),
                "training_rows_per_second": len(frame) / (ended - started),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
