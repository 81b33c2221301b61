"""A training that goes from one process to two, by rows, by tables, to one; a large table."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file

from recsys_mtl import parallel
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.memory import peak_memory_mb, reset_peak_memory
from recsys_mtl.model.embeddings import Embeddings
from recsys_mtl.tensor_file import save_tensors
from recsys_mtl.training import shards
from recsys_mtl.training.average import Average, Averaging
from recsys_mtl.training.best import Best
from recsys_mtl.training.state import collect, restore
from recsys_mtl.training.step_state import step_parts
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec, encoded
from tests.training import two_ranks
from tests.training.conftest import SPEC, make_rows

LEGS = {"row": "one", "table": "row", "replicated": "table"}
"""Sharding -> the state that it begins with."""


class Leg:
    """Two steps with a kind of sharding, from a state in the folder, if there is one."""

    def __init__(self, folder: Path, sharding: str, backend: str = "torchrec") -> None:
        sections = two_ranks.case(
            training={"tables": {"name": "rowwise_adagrad", "sharding": sharding}},
            **two_ranks.model(embedding={"dim": 4, "backend": backend}),
        )
        config = two_ranks.make_config(**sections)
        torch.manual_seed(3)
        network = build_network(config, two_ranks.SHARED, sharded=True)
        self.step = build_step(config, network, torch.device("cpu"))
        kept = {"larger_is_better": True, "min_delta": 0.0, "keep_weights": True}
        self.best, self.average = Best(network, **kept), Average(network, Averaging(0.9))
        self.parts = step_parts(self.step) | {"best": self.best, "average": self.average}
        self.folder = folder

    @property
    def embeddings(self) -> Embeddings:
        return self.step.network.embeddings

    def load(self, name: str) -> None:
        tensors = load_file(self.folder / f"{name}.safetensors")
        values = json.loads((self.folder / f"{name}-values.json").read_text())
        if name == "row" and parallel.several():  # one process reads for all
            own = shards.of_first({} if parallel.rank() else tensors, self.embeddings)
        else:
            own = shards.own_rows(tensors, self.embeddings)
        restore(self.parts, {"tensors": own, "values": values})

    def train(self) -> None:
        for number, batch in enumerate(two_ranks.batches("shared")[:2]):
            assert self.step(two_ranks.own_rows(batch), number).updated
            self.average.add()
        self.best.update(self.best.epoch + 1, self.best.epoch + 1.0)

    def save(self, name: str) -> Any:
        """The state to the folder; returns logits that the first process computes alone."""
        state = collect(self.parts)

        def work(tensors: Any) -> Any:
            save_tensors(self.folder / f"{name}.safetensors", tensors)
            (self.folder / f"{name}-values.json").write_text(json.dumps(state["values"]))
            return self.logits()

        with mock.patch.object(shards, "_PIECE_BYTES", 32):  # two rows
            return shards.on_first(self.embeddings, state["tensors"], work)

    @torch.no_grad()
    def logits(self) -> dict[str, Any]:
        """Of rows that are the same everywhere."""
        self.step.network.eval()
        logits = self.step.network(two_ranks.batches("shared")[0]).logits
        self.step.network.train()
        return {name: values.tolist() for name, values in logits.items()}


def begun(folder: Path) -> dict[str, Any]:
    """The first leg, in one process."""
    leg = Leg(folder, "row", "plain")
    leg.train()
    leg.save("one")
    return leg.logits()


def resharded(folder: Path) -> dict[str, Any]:
    """Logits of each leg of two processes, as it begins and as it ends."""
    results = {}
    for sharding in ("row", "table"):
        leg = Leg(folder, sharding)
        leg.load(LEGS[sharding])
        at_first = leg.logits()
        leg.train()
        results[sharding] = [at_first, leg.logits(), leg.save(sharding)]
    return results


def ended(folder: Path) -> list[Any]:
    """The last leg, in one process: its logits as it begins, and those of one process all along."""
    leg, all_along = Leg(folder, "replicated", "plain"), Leg(folder, "replicated", "plain")
    leg.load("table")
    for _ in range(3):
        all_along.train()
    tensors = (collect(each.parts)["tensors"] for each in (leg, all_along))
    pairs = zip(*(each.values() for each in tensors), strict=True)
    return [leg.logits(), max(float((a - b).abs().max()) for a, b in pairs if a.numel())]


LARGE = TableSpec("city", 2_400_000, 64)
LARGE_MB = LARGE.rows * (4 * LARGE.dim + 4) / 2**20
"""Of the weights and the state of row-wise Adagrad."""


def large(folder: Path) -> dict[str, Any]:
    """Trains and saves a large table; MiB that a process needs for it at most, and the losses."""
    spec = data_spec(numeric=3, tables=(LARGE,), tasks=SPEC.tasks)
    tables = {"name": "rowwise_adagrad", "sharding": "row"}
    config = two_ranks.make_config(
        **two_ranks.case(
            training={"tables": tables},
            **two_ranks.model(embedding={"dim": 64, "backend": "torchrec"}),
        )
    )
    reset_peak_memory()
    before = peak_memory_mb()
    network = build_network(config, spec, sharded=True)
    step, losses = build_step(config, network, torch.device("cpu")), []
    for number in range(2):
        ids = torch.randint(0, LARGE.rows, (33, 1), generator=torch.Generator().manual_seed(1))
        labels = make_rows(33).labels
        batch = encoded(spec, numeric=torch.zeros(33, 3), ids=ids, labels=labels)
        losses.append(step(two_ranks.own_rows(batch), number).losses.tolist())
    path = folder / "large.safetensors"
    shards.on_first(network.embeddings, network.state_dict(), partial(save_tensors, path))
    peak = peak_memory_mb() - before
    rows = None
    if parallel.rank() == 0:
        rows = load_file(path)[_LARGE_WEIGHT].shape[0]
        path.unlink()
    return {"peak": peak, "losses": losses, "rows": rows}


_LARGE_WEIGHT = "embeddings.embedding_bags.t_city.weight"
