"""One of two processes of test_averaging: `rank.py RANK FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from test_averaging import gradients_of

from recsys_mtl.gradients import over_processes

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
weight, rows, labels = torch.load(folder / "data.pt", weights_only=True)
part = slice(0, 5) if rank == 0 else slice(5, 12)  # unequal, and task 2 only in the second
gradient, counts = gradients_of(weight.requires_grad_(), rows[part], labels[part])
split = list(torch.split(gradient, [1, gradient.shape[1] - 1], 1))
blocks, total = over_processes(split, counts)
result = {"gradient": torch.cat(blocks, 1).tolist(), "counts": total.tolist()}
(folder / f"{rank}.json").write_text(json.dumps(result))
dist.destroy_process_group()
