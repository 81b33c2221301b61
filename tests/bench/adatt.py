"""What adaTT costs: steps of one network with and without it, in turns, in one process.

Prints JSON: for each way the median seconds of a step, and the median over rounds of its ratio to
the plain step of the same round. The network is that of the throughput bench: sixteen tasks, 26
embedded ids, 13 numbers, 4 shared experts and 1 per task of [256, 128].
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from ours import config

from recsys_mtl.build.network import build_network
from recsys_mtl.build.run import build_step
from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.training.step import TrainingStep

BATCH, STEPS = 4096, 10
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"mechanism": "off"},
    "every 10 steps, 512 rows": {"mechanism": "loss"},
    "gradient, every 10 steps, 512 rows": {"mechanism": "gradient"},
    "logits, every 10 steps, 512 rows": {
        "mechanism": "loss",
        "measure": {"name": "logit_correlation"},
    },
    "every step, all rows": {"mechanism": "loss", "measure": {"interval": 1, "rows": None}},
}


def main() -> None:
    """Take turns and print what a step takes."""
    path, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    base = config(path, "fp32", "memory").model_dump()
    base["training"] |= {"batch_size": BATCH}
    prepared = prepare(Config.model_validate(base))
    batches = [b for b in prepared.loaders["train"].epoch(0) if b.num_rows == BATCH][:STEPS]
    steps: dict[str, TrainingStep] = {}
    for name, section in WAYS.items():
        adatt = section | {"warmup_epochs": 0, "freeze_epoch": 100}
        made = Config.model_validate(base | {"adatt": adatt})
        torch.manual_seed(0)
        network = build_network(made, prepared.preprocessor.spec)
        network.train()
        steps[name] = build_step(made, network, torch.device("cpu"))
        steps[name].start_epoch(0)
    seen: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(rounds + 1):  # the first one warms up
        for name, step in steps.items():
            begun = time.perf_counter()
            for batch in batches:
                assert step(batch).updated
            if turn:
                seen[name].append((time.perf_counter() - begun) / len(batches))
    plain = seen["plain"]
    print(
        json.dumps(
            {
                name: {
                    "seconds": statistics.median(values),
                    "ratio": statistics.median(a / b for a, b in zip(values, plain, strict=True)),
                }
                for name, values in seen.items()
            }
        )
    )


if __name__ == "__main__":
    main()
