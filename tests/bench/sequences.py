"""What a history of 50 entries costs: steps of one network with each way to read it, in turns.

Prints JSON: for each way the median CPU seconds of a step, and the median over rounds of its ratio
to the pooled list of the same round. The network is that of the throughput bench: 26 embedded ids,
13 numbers, 4 shared experts and 1 per task of [256, 128]. The history and the first id share a
table.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

sys.path.insert(0, str(Path(__file__).parent))
from data import VOCABULARY
from ours import config
from turns import take_turns

from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step

BATCH, STEPS, LONGEST = 2048, 5, 50
SEQUENCE: dict[str, Any] = {"kind": "sequence", "table": "c0", "target": "c0"}
WAYS: dict[str, dict[str, Any] | None] = {
    "no history": None,
    "list, mean": {"kind": "categorical_list", "table": "c0"},
    "sequence, mean": {"kind": "sequence", "table": "c0"},
    "sequence, din": SEQUENCE | {"encoder": "din"},
    "sequence, mha": SEQUENCE | {"encoder": "mha"},
    "sequence, transformer": SEQUENCE | {"encoder": "transformer"},
}
REFERENCE = "list, mean"


def with_history(path: Path) -> Path:
    """A copy of the rows with a column of histories, of all lengths up to the longest."""
    target = path.with_name(f"history-{path.name}")
    if not target.exists():
        rng, rows = np.random.default_rng(0), pl.read_parquet(path, n_rows=BATCH * (STEPS + 1))
        lengths = rng.integers(0, LONGEST + 1, rows.height)
        ids = np.minimum(rng.zipf(1.2, lengths.sum()), VOCABULARY) - 1
        lists = [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]
        rows.with_columns(history=pl.Series(lists)).write_parquet(target)
    return target


def main() -> None:
    """Take turns and print what a step takes."""
    path, rounds = with_history(Path(sys.argv[1]).resolve()), int(sys.argv[2])
    base = config(path, sys.argv[3], "memory").model_dump()
    base["training"] |= {"batch_size": BATCH}
    ways = {}
    for name, history in WAYS.items():
        features = base["features"] | ({"history": history} if history else {})
        ignored = base["data"] | {"ignore": [] if history else ["history"]}
        made = Config.model_validate(base | {"features": features, "data": ignored})
        prepared = prepare(made)
        torch.manual_seed(0)
        network = build_network(made, prepared.preprocessor.spec)
        network.train()
        full = [b for b in prepared.loaders["train"].epoch(0) if b.num_rows == BATCH]
        ways[name] = build_step(made, network, torch.device("cpu")), full[:STEPS]
    print(json.dumps(take_turns(ways, rounds, REFERENCE, time.process_time)))


if __name__ == "__main__":
    main()
