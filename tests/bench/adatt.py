"""What adaTT costs: steps of one network with and without it, in turns, in one process.

Prints JSON: for each way the median seconds of a step, and the median over rounds of its ratio to
the plain step of the same round. The network is that of the throughput bench: sixteen tasks, 26
embedded ids, 13 numbers, 4 shared experts and 1 per task of [256, 128]. Four of the tasks keep 1 %
of their labels, so that somebody borrows.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from ours import config
from turns import take_turns

from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.prepare import prepare
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step

BATCH, STEPS = 4096, 10
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"mechanism": "off"},
    "every 10 steps, 512 rows": {"mechanism": "loss"},
    "gradient, every 10 steps, 512 rows": {"mechanism": "gradient"},
    "logits, every 10 steps, 512 rows": {
        "mechanism": "loss",
        "measure": {"name": "logit_correlation"},
    },
    "borrow, every 10 steps, 512 rows": {"mechanism": "borrow"},
    "every step, all rows": {"mechanism": "loss", "measure": {"interval": 1, "rows": None}},
}


def scarce(batch: Batch, seed: int) -> Batch:
    """The batch with 1 % of the labels of the first four tasks."""
    labels = batch.labels.clone()
    generator = torch.Generator().manual_seed(seed)
    lost = torch.rand(labels[:, :4].shape, generator=generator) > 0.01
    labels[:, :4][lost] = torch.nan
    return replace(batch, labels=labels)


def main() -> None:
    """Take turns and print what a step takes."""
    path, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    base = config(path, "fp32", "memory").model_dump()
    base["training"] |= {"batch_size": BATCH}
    prepared = prepare(Config.model_validate(base))
    full = [b for b in prepared.loaders["train"].epoch(0) if b.num_rows == BATCH][:STEPS]
    batches = [scarce(batch, number) for number, batch in enumerate(full)]
    steps: dict[str, TrainingStep] = {}
    for name, section in WAYS.items():
        adatt = section | {"warmup_epochs": 1, "freeze_epoch": 100}
        made = Config.model_validate(base | {"adatt": adatt})
        torch.manual_seed(0)
        network = build_network(made, prepared.preprocessor.spec)
        network.train()
        steps[name] = build_step(made, network, torch.device("cpu"))
        steps[name].start_epoch(0)
        for batch in batches:  # the warm-up, not timed
            assert steps[name](batch).updated
        steps[name].start_epoch(1)
    transfer = steps["borrow, every 10 steps, 512 rows"].transfer
    assert transfer is not None
    assert transfer.diagnostics()["borrowed"], "nobody borrows, so nothing is measured"
    ways = {name: (steps[name], batches) for name in WAYS}
    print(json.dumps(take_turns(ways, rounds, "plain")))


if __name__ == "__main__":
    main()
