"""Steps to compare, and the bench's network of sixteen tasks."""

from __future__ import annotations

import torch

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec, encoded

TASKS, TABLES, NUMBERS = 16, 26, 13


def small_config(**sections: object) -> Config:
    """Three tasks of three kinds; the same numbers on every device, as nothing is drawn."""
    model = {
        "embedding": {"dim": 4, "backend": "plain"},
        "shared_experts": [{"kind": "mlp", "count": 2, "hidden": [16, 12]}],
        "task_experts": [{"kind": "mlp", "count": 1, "hidden": [16, 12]}],
        "tower": {"hidden": [10]},
        "dropout": 0.0,
        "tower_dropout": 0.0,
    }
    own = sections.pop("model", {})
    assert isinstance(own, dict)
    kinds = {
        "click": {"kind": "binary"},
        "buy": {"kind": "binary"},
        "segment": {"kind": "multiclass", "classes": ["a", "b", "c"]},
        "value": {"kind": "regression"},
    }
    start = {"name": "gpu", "data": {"path": "x.parquet"}, "features": {"x": {"kind": "numeric"}}}
    return Config.model_validate(start | {"tasks": kinds, "model": model | own} | sections)


SMALL = data_spec(
    numeric=3,
    tables=(TableSpec("city", 11, 4), TableSpec("device", 7, 4)),
    lists=(TableSpec("recent", 9, 4, "mean"),),
    tasks=(
        TaskSpec("click", "binary", 1, prior=(0.5,)),
        TaskSpec("buy", "binary", 1, prior=(0.5,)),
        TaskSpec("segment", "multiclass", 3, prior=(0.3, 0.3, 0.4)),
        TaskSpec("value", "regression", 1, prior=(0.0,)),
    ),
)


def small_rows(seed: int, count: int = 64) -> Batch:
    """Rows of `SMALL`, some unlabelled."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 4, (count, 1), generator=g)
    ids = [torch.randint(0, size, (count,), generator=g) for size in (11, 7)]
    labels = [torch.randint(0, most, (count,), generator=g).float() for most in (2, 2, 3)]
    labels.append(torch.randn(count, generator=g))
    every = torch.stack(labels, 1)
    every[::7, 0] = torch.nan
    return encoded(
        SMALL,
        numeric=torch.randn(count, 3, generator=g),
        ids=torch.stack(ids, 1),
        lists=(torch.randint(0, 9, (int(lengths.sum()),), generator=g),),
        lengths=lengths,
        labels=every,
    )


def small_step(config: Config, device: torch.device) -> TrainingStep:
    """A step of `SMALL`; on a CPU too it does not read, as on a GPU."""
    torch.manual_seed(3)
    network = build_network(config, SMALL, device=torch.device("cpu"))
    state = network.state_dict()
    network = build_network(config, SMALL, device=device)
    network.load_state_dict(state)
    network.train()
    step = build_step(config, network, device)
    step.waits = False
    step.start_epoch(0)
    return step


def sixteen(device: torch.device, rows: int, table_rows: int, precision: str) -> TrainingStep:
    """The bench's network: one level, 4 shared experts and 1 a task, 26 tables of width 16."""
    hidden = [256, 128] if rows >= 2048 else [64, 32]
    tasks = tuple(TaskSpec(f"t{i}", "binary", 1, prior=(0.5,)) for i in range(TASKS))
    tables = tuple(TableSpec(f"c{i}", table_rows, 16) for i in range(TABLES))
    spec = data_spec(numeric=NUMBERS, tables=tables, tasks=tasks)
    config = small_config(
        tasks={task.name: {"kind": "binary"} for task in tasks},
        training={"precision": precision, "batch_size": rows},
        model={
            "embedding": {"dim": 16, "backend": "plain"},
            "shared_experts": [{"kind": "mlp", "count": 4, "hidden": hidden}],
            "task_experts": [{"kind": "mlp", "count": 1, "hidden": hidden}],
            "tower": {"hidden": [64, 32]},
            "dropout": 0.1,
            "tower_dropout": 0.1,
        },
    )
    torch.manual_seed(0)
    network = build_network(config, spec, device=device)
    network.train()
    step = build_step(config, network, device)
    step.waits = False
    return step


def sixteen_rows(rows: int, table_rows: int) -> Batch:
    """A batch of it: ids with a long tail."""
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (rows, TASKS), generator=g).float()
    ids = (torch.rand(rows, TABLES, generator=g) ** 3 * table_rows).long()
    names = tuple(TableSpec(f"c{i}", table_rows, 16) for i in range(TABLES))
    spec = data_spec(numeric=NUMBERS, tables=names, tasks=())
    return encoded(spec, numeric=torch.randn(rows, NUMBERS, generator=g), ids=ids, labels=labels)
