"""One of two processes of test_processes: `rank.py RANK FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from test_processes import affinities

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
weight, steps = torch.load(folder / "data.pt", weights_only=True)
part = slice(0, 5) if rank == 0 else slice(5, 12)
mine = [(rows[part], labels[part]) for rows, labels in steps]
(folder / f"{rank}.json").write_text(json.dumps(affinities(weight.requires_grad_(), mine)))
dist.destroy_process_group()
