"""Metrics by kind of label: pure functions over all rows of a set, never averaged over batches."""

from __future__ import annotations

from recsys_mtl.metrics.binary import reliability
from recsys_mtl.metrics.retrieval import true_item_ranks
from recsys_mtl.metrics.undefined import Metric, Metrics, Undefined, to_json

__all__ = [
    "Metric",
    "Metrics",
    "Undefined",
    "reliability",
    "to_json",
    "true_item_ranks",
]
