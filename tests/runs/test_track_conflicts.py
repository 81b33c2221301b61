from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from recsys_mtl.runs.track import conflict_numbers

TASKS = ("click", "buy", "spend")
MLFLOW_NAME = re.compile(r"[\w./: -]{1,250}")


def found_of(ratio: Mapping[str, float], **changes: Any) -> dict[str, Any]:
    """As `Conflicts.described`."""
    return {
        "steps": 12,
        "skipped": 1,
        "conflict_ratio": ratio,
        "length_ratio": {block: 1.0 + i for i, block in enumerate(ratio)},
        "task_cosine": {block: dict.fromkeys(TASKS, 0.5) for block in ratio},
        "pair_cosine": [[None, -0.5, 0.25], [-0.5, None, None], [0.25, None, None]],
        "weights": {"click": 1.0, "buy": 0.75, "spend": None},
        "extra": {"lambda": 0.3, "conflicting": 0.4},
    } | changes


def test_numbers_of_an_epoch_by_name() -> None:
    assert conflict_numbers(found_of({"shared.0": 0.25, "embeddings": 0.75})) == {
        "combiner/steps": 12,
        "combiner/skipped": 1,
        "combiner/conflict_ratio": 0.5,
        "combiner/conflict_ratio/shared.0": 0.25,
        "combiner/conflict_ratio/embeddings": 0.75,
        "combiner/length_ratio": 1.5,
        "combiner/length_ratio/shared.0": 1.0,
        "combiner/length_ratio/embeddings": 2.0,
        "combiner/cosine/click/buy": -0.5,
        "combiner/cosine/click/spend": 0.25,
        "combiner/cosine/buy/spend": None,
        "combiner/weight/click": 1.0,
        "combiner/weight/buy": 0.75,
        "combiner/weight/spend": None,
        "combiner/lambda": 0.3,
        "combiner/conflicting": 0.4,
    }


def test_of_many_tasks_there_is_one_cosine_each() -> None:
    tasks = [f"task_{i}" for i in range(7)]
    cosines = [[None if i == j else (i + j) / 16 for j in range(7)] for i in range(7)]
    many = {"task_cosine": {"all": dict.fromkeys(tasks, 0.5)}, "pair_cosine": cosines}
    values = conflict_numbers(found_of({"all": 0.25}, **many))
    names = [name for name in values if name.startswith("combiner/cosine/")]
    assert names == [f"combiner/cosine/{task}" for task in tasks]
    assert values["combiner/cosine/task_6"] == pytest.approx((6 * 6 + 15) / 6 / 16)


def test_a_single_block_is_reported_once() -> None:
    values = conflict_numbers(found_of({"all": 0.25}))
    assert values["combiner/conflict_ratio"] == 0.25
    assert not [name for name in values if name.endswith("/all")]


@pytest.mark.parametrize(("count", "each"), [(2, True), (8, True), (9, False)])
def test_single_blocks_are_reported_where_they_are_few(count: int, each: bool) -> None:
    ratio = {f"block.{i}": i / 50 for i in range(count)}
    values = conflict_numbers(found_of(ratio))
    ratios = [name for name in values if name.startswith("combiner/length_ratio/")]
    assert len(ratios) == (count if each else 0)
    assert values["combiner/conflict_ratio"] == pytest.approx((count - 1) / 100)
    assert values["combiner/length_ratio"] == pytest.approx((count + 1) / 2)


def test_what_is_unknown_is_left_out_of_means() -> None:
    ratio = {"shared.0": 0.25, "shared.1": 0.5}
    values = conflict_numbers(found_of(ratio, length_ratio={"shared.0": None, "shared.1": 3.0}))
    assert values["combiner/length_ratio"] == 3.0
    assert values["combiner/length_ratio/shared.0"] is None
    values = conflict_numbers(found_of(ratio, length_ratio=dict.fromkeys(ratio)))
    assert values["combiner/length_ratio"] is None


def test_methods_without_weights_or_numbers_of_their_own() -> None:
    values = conflict_numbers(found_of({"all": 0.0}, weights=None, extra={}))
    assert not [name for name in values if "weight" in name or "lambda" in name]


def test_names_are_such_as_mlflow_takes() -> None:
    blocks = ["0.shared.1", "shared_experts.mlp.weights.1.0.17", "embeddings"]
    values = conflict_numbers(found_of(dict.fromkeys(blocks, 0.5)))
    assert all(MLFLOW_NAME.fullmatch(name) for name in values)
