"""What an architecture costs: steps of each in turns, in one process.

Prints JSON as `adatt.py` does, with ratios to the step of one shared bottom. The data are those of
the throughput bench: sixteen tasks, 26 embedded ids, 13 numbers. Every architecture has one shared
expert and one for each task of [256, 128], as far as it has such experts; half of the tasks are one
group, the other half another; the prior of the gates are the ids.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from ours import config
from turns import take_turns

from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step

BATCH, STEPS = 2048, 3
NAMES = ("shared_bottom", "mmoe", "ple", "single_task", "aitm", "pepnet", "home", "stem")


def main() -> None:
    """Take turns and print what a step takes."""
    path, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    base = config(path, "fp32", "memory").model_dump()
    base["training"] |= {"batch_size": BATCH}
    base["model"]["shared_experts"][0]["count"] = 1
    tasks = list(base["tasks"])
    halves = {"a": tasks[: len(tasks) // 2], "b": tasks[len(tasks) // 2 :]}
    base["adatt"]["prior"]["groups"] = {name: {"tasks": half} for name, half in halves.items()}
    prepared = prepare(Config.model_validate(base))
    batches = [b for b in prepared.loaders["train"].epoch(0) if b.num_rows == BATCH][:STEPS]
    steps: dict[str, TrainingStep] = {}
    for name in NAMES:
        model = base["model"] | {"architecture": name}
        made = Config.model_validate(base | {"model": model})
        torch.manual_seed(0)
        network = build_network(made, prepared.preprocessor.spec)
        network.train()
        steps[name] = build_step(made, network, torch.device("cpu"))
    ways = {name: (step, batches) for name, step in steps.items()}
    print(json.dumps(take_turns(ways, rounds, NAMES[0])))


if __name__ == "__main__":
    main()
