"""Rows before a training sees them; prints what each takes as JSON.

Arguments: the Parquet file, what, rounds. Contestants take turns in this process.

    encode   CPU seconds to encode all rows, and polars' to read the file
    fit      CPU seconds of `prepare` up to the fitted preprocessing, and pyarrow's to scan the file
    stream   wall seconds of a streamed epoch with one thread a core (two at least), and with one
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import ours
import polars as pl
import pyarrow.parquet as pq
import torch

from recsys_mtl.config.schema import Config
from recsys_mtl.data import prepare as preparing
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.prepare import prepare

Contestants = dict[str, Callable[[], object]]


def encode(path: Path, config: Config) -> Contestants:
    """Rows in memory to tensors, in frames as the loaders read them."""
    prepared = prepare(config)
    columns = prepared.preprocessor.columns(labels=True)
    frames = [frame for _, frame in prepared.splits.iterate(columns)]
    return {
        "encode": lambda: [prepared.preprocessor.encode(frame) for frame in frames],
        "polars reads": lambda: pl.read_parquet(path),
    }


def fit(path: Path, config: Config) -> Contestants:
    """Vocabularies, quantiles and statistics, and the search for leaks."""
    splits = open_splits(config)
    return {
        "fit": lambda: preparing._fit(config, splits, None, None),
        "pyarrow scans": lambda: deque(pq.ParquetFile(path).iter_batches(131_072), 0),
    }


def stream(path: Path, config: Config) -> Contestants:
    """An epoch of shuffled rows, read and encoded ahead."""
    loader = prepare(config).loaders["train"]

    def epoch(threads: int) -> None:
        torch.set_num_threads(threads)
        deque(loader.epoch(0), 0)

    several = max(2, torch.get_num_threads())
    return {"several threads": lambda: epoch(several), "one thread": lambda: epoch(1)}


def main() -> None:
    """Let the contestants take turns."""
    path, what, rounds = Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
    config = ours.config(path, "fp32", "stream" if what == "stream" else "memory")
    contestants = {"encode": encode, "fit": fit, "stream": stream}[what](path, config)
    clock = time.perf_counter if what == "stream" else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            begun = clock()
            run()
            if turn:  # the first one warms up
                seconds[name].append(clock() - begun)
    rows = pq.read_metadata(path).num_rows
    print(json.dumps({"rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
