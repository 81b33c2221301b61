"""What a checkpoint costs a training; prints JSON.

Arguments: the Parquet file, rows of each of the 26 embedding tables, repetitions.
The training waits for `waits` seconds of a checkpoint; `cpu` seconds are those of all threads, the
writing, hashing and flushing included. Medians.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from recsys_mtl.checkpoints import Checkpoints, Saver
from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.wiring.trainer import build_trainer

sys.path.insert(0, str(Path(__file__).parent))
import data
import ours


def config(path: Path, table_rows: int) -> Config:
    """The throughput bench's run, with tables of another size."""
    values = ours.config(path, "fp32", "memory").model_dump(exclude_unset=True)
    for name in data.ID_COLUMNS:
        section = {"kind": "categorical", "encoding": "hash", "buckets": table_rows}
        values["features"][name] = section
    return Config.model_validate(values)


def main() -> None:
    """Train an epoch, then store the state again and again."""
    path, table_rows, repetitions = Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3])
    run = config(path, table_rows)
    prepared = prepare(run)
    trainer = build_trainer(run, prepared.preprocessor, prepared.loaders)
    trainer.fit()
    state = sum(tensor.nbytes for tensor in trainer.state_dict()["tensors"].values())
    waits, cpu = [], []
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        saver = Saver(
            Checkpoints(Path(folder)),
            trainer,
            every=1e-9,
            unit="minutes",
            keep=1,
            run=dict,
            files=prepared.fitting.to_files,
        )
        for _ in range(repetitions):
            begun, used = time.perf_counter(), time.process_time()
            saver.take()
            waits.append(time.perf_counter() - begun)
            saver.wait()
            cpu.append(time.process_time() - used)
        saver.close()
    seconds = {"waits": statistics.median(waits), "cpu": statistics.median(cpu)}
    print(json.dumps({"mib": state / 2**20, "seconds": seconds}))


if __name__ == "__main__":
    main()
