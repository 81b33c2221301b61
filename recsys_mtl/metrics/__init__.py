"""Metrics by kind of label: pure functions over all rows of a set, never averaged over batches."""

from __future__ import annotations

from recsys_mtl.metrics.binary import prepare_reliability, reliability
from recsys_mtl.metrics.retrieval import true_item_ranks
from recsys_mtl.metrics.undefined import Metric, Metrics, Undefined, from_values, to_json, to_values

__all__ = [
    "Metric",
    "Metrics",
    "Undefined",
    "from_values",
    "prepare_reliability",
    "reliability",
    "to_json",
    "to_values",
    "true_item_ranks",
]
