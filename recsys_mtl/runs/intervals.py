"""95 % intervals of the main test metrics, by the bootstrap over rows, or over lists of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys_mtl.columns.keys import NO_GROUP
from recsys_mtl.metrics.bootstrap import (
    clusters_of,
    drawn_clusters,
    drawn_rows,
    interval,
    resampled,
)
from recsys_mtl.metrics.lists import ListMetrics
from recsys_mtl.metrics.weighing import Ints, Score, on_rows
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Scores

RESAMPLES = 200
MOST_ROWS = 50_000


def add_intervals(
    metrics: Mapping[str, dict[str, dict[str, Any]]],
    kinds: Mapping[str, str],
    scores: Scores,
    *,
    seed: int,
) -> None:
    """Add `low` and `high` to the value of each task's main metric.

    Of more than `MOST_ROWS` rows so many are drawn: the interval is then wider than it has to be.
    Where rows are in lists, lists are drawn and resampled.

    Args:
        metrics: task -> metric -> entry of result.json, changed in place.
        kinds: of the tasks.
        scores: of the test rows.
        seed: of the draws.
    """
    keep, clusters = drawn(scores, seed)
    functions: dict[str, Score] = {}
    for task, kind in kinds.items():
        entry = metrics[task].get(kind_of(kind).main)
        labels = scores.labels[task][keep]
        rows = np.flatnonzero(~np.isnan(labels))
        if entry is not None and entry["value"] is not None and len(rows):
            known = labels[rows].astype(np.float64)
            predicted = scores.predictions[task][keep][rows].astype(np.float64)
            functions[task] = on_rows(rows, kind_of(kind).score([known], [predicted]))
    if not functions:
        return
    weights = scores.weights[keep].astype(np.float64)
    draws_of = resampled(functions, weights, resamples=RESAMPLES, seed=seed, clusters=clusters)
    for task, draws in draws_of.items():
        entry = metrics[task][kind_of(kinds[task]).main]
        edges = interval(entry["value"], draws[:, 0])
        if np.isfinite(edges.low):
            entry |= {"low": edges.low, "high": edges.high}


def drawn(scores: Scores, seed: int) -> tuple[Ints, Ints | None]:
    """Indices of the rows that are resampled, and their clusters; None: each is on its own."""
    if scores.groups is None:
        return drawn_rows(len(scores.weights), MOST_ROWS, seed), None
    clusters = clusters_of(scores.groups, NO_GROUP)
    rows = drawn_clusters(clusters, MOST_ROWS, seed)
    return rows, np.unique(clusters[rows], return_inverse=True)[1]


def add_list_intervals(metrics: dict[str, dict[str, Any]], lists: ListMetrics, seed: int) -> None:
    """Add `low` and `high` to the metrics within lists, by the bootstrap over all lists.

    Args:
        metrics: metric -> entry of result.json, changed in place.
        lists: their values.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    count = len(lists.first)
    draws: dict[str, list[float]] = {name: [] for name in lists.values}
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        for name, of_metric in draws.items():
            of_metric.append(lists.mean(name, times))
    for name, of_metric in draws.items():
        if metrics[name]["value"] is None:
            continue
        edges = interval(metrics[name]["value"], np.array(of_metric))
        if np.isfinite(edges.low):
            metrics[name] |= {"low": edges.low, "high": edges.high}
