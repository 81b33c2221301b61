"""Names of metrics in a config are names of metrics in results."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recsys_mtl.config import Config
from recsys_mtl.config.check import followed
from recsys_mtl.config.task_facts import larger_is_better
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.metrics import Metrics, Undefined, from_values, to_values
from recsys_mtl.tasks import KINDS
from recsys_mtl.tasks.evaluate import evaluate_task
from tests.tasks.test_evaluate import predictions

NO_BETTER_SIDE = {"calibration_ratio"}


def results(kind: str) -> set[str]:
    labels = np.array([0.0, 1, 1, 0])
    return set(evaluate_task(kind, labels, predictions(kind, 4), top_k=(1, 5)))


def test_all_kinds_have_a_section() -> None:
    assert {name: kind.section for name, kind in KINDS.items()} == TaskConfig.members


@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_can_follow_what_results_have_and_nothing_else(kind: str) -> None:
    document = {
        "name": "shop",
        "data": {"path": "rows.parquet"},
        "features": {"age": {"kind": "numeric"}},
        "tasks": {"it": {"kind": kind}},
        "evaluation": {"top_k": [1, 5]},
    }
    names = set(followed(Config.model_validate(document), "it"))
    assert names == results(kind) - NO_BETTER_SIDE
    for name in names:
        assert isinstance(larger_is_better(name), bool)


def test_metrics_as_values_are_the_same_metrics() -> None:
    metrics: Metrics = {"auc": 0.1 + 0.2, "pr_auc": Undefined("all labels are of one class")}
    assert from_values(json.loads(json.dumps(to_values(metrics)))) == metrics
