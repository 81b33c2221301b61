"""Names of metrics in a config are names of metrics in results."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from recsys_mtl.columns.spec import TaskKind
from recsys_mtl.config.check import METRICS
from recsys_mtl.metrics import evaluate_task, larger_is_better
from recsys_mtl.metrics.evaluate import LARGER_IS_BETTER
from tests.metrics.test_evaluate import predictions

NO_BETTER_SIDE = {"calibration_ratio"}
KINDS = get_args(TaskKind)


def results(kind: TaskKind) -> set[str]:
    labels = np.array([0.0, 1, 1, 0])
    return set(evaluate_task(kind, labels, predictions(kind, 4), top_k=(1, 5)))


def followed(kind: TaskKind) -> set[str]:
    """What early stopping can follow."""
    recall = {"recall_at_1", "recall_at_5"} if kind == "retrieval" else set()
    return set(METRICS[kind]) | recall


def test_all_kinds_have_them() -> None:
    assert set(METRICS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_can_follow_what_results_have_and_nothing_else(kind: TaskKind) -> None:
    assert followed(kind) == results(kind) - NO_BETTER_SIDE
    for name in followed(kind):
        assert isinstance(larger_is_better(name), bool)


def test_every_metric_with_a_better_side_is_in_some_result() -> None:
    every = {name for kind in KINDS for name in results(kind)}
    assert set(LARGER_IS_BETTER) - {"recall_at_k"} <= every
