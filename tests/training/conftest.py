"""Encoded rows of every task kind, small enough to be learnt by heart."""

from typing import Any

import pytest
import torch

from recsys_mtl.columns.spec import DataSpec, TableSpec, TaskSpec
from recsys_mtl.config.model import ModelConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec, encoded

SGD = {
    "tables": {"name": "sgd", "learning_rate": 0.5},
    "optimizer": {"clip_norm": None, "warmup": 0.0},
}
KINDS = {
    "click": {"kind": "binary"},
    "segment": {"kind": "multiclass", "classes": ["a", "b", "c"]},
    "value": {"kind": "regression"},
    "brand": {"kind": "retrieval", "dim": 8},
}


def make_config(**sections) -> Config:
    return Config.model_validate(
        {
            "name": "test",
            "data": {"path": "unused.parquet"},
            "features": {"x": {"kind": "numeric"}},
            "tasks": KINDS,
            "model": {
                "embedding": {"dim": 4, "backend": "plain"},
                "shared_experts": [{"kind": "mlp", "count": 2, "hidden": [16, 12]}],
                "task_experts": [{"kind": "mlp", "count": 1, "hidden": [16, 12]}],
                "tower": {"hidden": [10]},
                "dropout": 0.0,
                "tower_dropout": 0.0,
            },
        }
        | sections
    )


SPEC = data_spec(
    numeric=3,
    tables=(TableSpec("city", 11, 4), TableSpec("device", 7, 4)),
    lists=(TableSpec("recent", 9, 4, "mean"),),
    tasks=(
        TaskSpec("click", "binary", 1, prior=(0.5,)),
        TaskSpec("segment", "multiclass", 3, prior=(0.3, 0.3, 0.4)),
        TaskSpec("value", "regression", 1, prior=(0.0,)),
        TaskSpec("brand", "retrieval", 8, items=6),
    ),
)


@pytest.fixture
def spec() -> DataSpec:
    return SPEC


@pytest.fixture
def rows() -> Batch:
    return make_rows(40)


def make_rows(count: int, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 4, (count, 1), generator=g)
    labels = torch.stack(
        [
            torch.randint(0, 2, (count,), generator=g).float(),
            torch.randint(0, 3, (count,), generator=g).float(),
            torch.randn(count, generator=g),
            torch.randint(1, 6, (count,), generator=g).float(),
        ],
        1,
    )
    labels[::7] = torch.nan
    return encoded(
        SPEC,
        numeric=torch.randn(count, 3, generator=g),
        ids=torch.stack([torch.randint(0, size, (count,), generator=g) for size in (11, 7)], dim=1),
        lists=(torch.randint(0, 9, (int(lengths.sum()),), generator=g),),
        lengths=lengths,
        labels=labels,
    )


@pytest.fixture
def config_of():
    return make_config


@pytest.fixture
def rows_of():
    return make_rows


@pytest.fixture
def step_of(spec: DataSpec):
    """A step with a combiner, from the same initial weights; `model` changes keys of it."""

    def make(combiner: dict[str, Any], model: dict[str, Any] | None = None, **rest: Any):
        base = {"training": SGD | {"batch_size": 40}, "combiner": combiner}
        config = make_config(**base | rest)
        keys = config.model.model_dump(exclude_unset=True) | (model or {})
        config = config.model_copy(update={"model": ModelConfig.model_validate(keys)})
        torch.manual_seed(3)
        return build_step(config, build_network(config, spec), torch.device("cpu"))

    return make
