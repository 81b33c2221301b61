"""Metrics by kind of label: pure functions over all rows of a set, never averaged over batches."""

from __future__ import annotations

from recsys_mtl.metrics.binary import reliability
from recsys_mtl.metrics.evaluate import (
    LARGER_IS_BETTER,
    evaluate_task,
    larger_is_better,
    metric_names,
)
from recsys_mtl.metrics.retrieval import true_item_ranks
from recsys_mtl.metrics.undefined import Metric, Metrics, Undefined, to_json

__all__ = [
    "LARGER_IS_BETTER",
    "Metric",
    "Metrics",
    "Undefined",
    "evaluate_task",
    "larger_is_better",
    "metric_names",
    "reliability",
    "to_json",
    "true_item_ranks",
]
