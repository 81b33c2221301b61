"""What a recipe decides, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_mtl.config import Config, config_from_yaml, dump_config
from recsys_mtl.config.recipe import MANY_TASKS, DataSize, recipes, with_recipe

SMALL = DataSize(30_000, 500)


def config(tasks: int = 1, **training: Any) -> Config:
    return Config.model_validate(
        {
            "name": "x",
            "data": {"path": "x.parquet"},
            "features": {"age": {"kind": "numeric"}},
            "tasks": {["click", *"abcdef"][i]: {"kind": "binary"} for i in range(tasks)},
            "training": training,
        }
    )


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (SMALL, "table"),
        (DataSize(200_000, 10_000), "table"),
        (DataSize(200_001, 10), "stream"),
        (DataSize(100_000, 5_001), "stream"),  # fewer than 20 rows an id
        (DataSize(25_001, 5_001), "stream"),
        (DataSize(25_000, 25_000), "table"),  # too few rows to learn in three passes
        (DataSize(2_000, 1_500), "table"),  # few ids, however few rows
    ],
)
def test_auto_goes_by_rows_and_ids(size: DataSize, name: str) -> None:
    decided, derived = with_recipe(config(), size)
    assert decided.training.recipe == name
    assert derived["training.epochs"] == decided.training.epochs
    assert derived.keys() == with_recipe(config(recipe=name), SMALL)[1].keys()


def test_keys_that_are_set_stay() -> None:
    own = config(epochs=7, optimizer={"learning_rate": 0.5}, early_stopping={"metric": "click/auc"})
    decided, derived = with_recipe(own, SMALL)
    training = decided.training
    assert (training.epochs, training.optimizer.learning_rate) == (7, 0.5)
    assert training.early_stopping.metric == "click/auc"
    assert not {"training.epochs", "training.optimizer.learning_rate"} & derived.keys()
    assert training.early_stopping.patience == derived["training.early_stopping.patience"]
    assert decided.model.members == derived["model.members"] > 1


def test_many_tasks_keep_experts_of_their_own() -> None:
    few, derived = with_recipe(config(MANY_TASKS - 1), SMALL)
    many, more = with_recipe(config(MANY_TASKS), SMALL)
    assert few.model.architecture.name == "shared_bottom"
    assert many.model.architecture.name == "ple"
    assert [expert.hidden for expert in many.model.task_experts] == [[64, 32]]
    assert "model.task_experts" in more.keys() - derived.keys()
    rates = [
        (c.training.optimizer.learning_rate, c.training.tables.learning_rate) for c in (few, many)
    ]
    assert rates == [(5e-3, 0.1), (2e-3, 0.02)]
    assert recipes(MANY_TASKS) != recipes(MANY_TASKS - 1) == recipes(2)


def test_fifty_steps_warm_up() -> None:
    training = with_recipe(config(), SMALL)[0].training
    steps = training.epochs * (SMALL.rows // training.batch_size)
    assert training.optimizer.warmup * steps == pytest.approx(50, rel=0.01)
    assert with_recipe(config(epochs=1), DataSize(100, 2))[0].training.optimizer.warmup == 0.1


def test_none_decides_nothing() -> None:
    own = config(recipe="none")
    decided, derived = with_recipe(own, SMALL)
    assert derived == {}
    assert decided.model_dump() == own.model_dump()


def test_what_a_run_stored_is_decided() -> None:
    decided, _ = with_recipe(config(), SMALL)
    stored = config_from_yaml(dump_config(decided), where="config.yaml")
    again, derived = with_recipe(stored, DataSize(10_000_000, 10))
    assert derived == {}
    assert again == decided
