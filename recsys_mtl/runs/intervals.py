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
from recsys_mtl.metrics.undefined import Undefined
from recsys_mtl.metrics.weighing import Floats, Ints, Score, on_rows
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Array, Scores

RESAMPLES = 200
MOST_ROWS = 50_000


class Rivals:
    """Baselines on the rows that intervals are computed of.

    Args:
        scores: of the model, on the test rows.
        kinds: of the tasks.
        seed: of the draws.

    Attributes:
        rows: see `drawn`.
        predictions: by name and task, of these rows, in the form that metrics take.
    """

    def __init__(self, scores: Scores, kinds: Mapping[str, str], seed: int) -> None:
        self._labels, self._kinds = scores.labels, kinds
        self._count = len(scores.weights)
        self.rows = drawn(scores, seed)
        self.predictions: dict[str, dict[str, Array]] = {}

    def keep(self, name: str, predictions: Mapping[str, Array | Undefined]) -> None:
        """Keep a baseline's predictions, by task one a test row, in the label's unit."""
        self.predictions[name] = {
            task: kind_of(self._kinds[task]).for_metrics(self._labels[task], values)[self.rows[0]]
            for task, values in predictions.items()
            if not isinstance(values, Undefined) and len(values) == self._count
        }


def add_intervals(
    metrics: Mapping[str, dict[str, dict[str, Any]]],
    kinds: Mapping[str, str],
    scores: Scores,
    *,
    seed: int,
    rivals: Rivals | None = None,
    baselines: Mapping[str, Mapping[str, dict[str, Any]]] | None = None,
) -> None:
    """Add `low` and `high` to the value of each task's main metric, and to those of baselines.

    Of more than `MOST_ROWS` rows so many are drawn: the interval is then wider than it has to be.
    Where rows are in lists, lists are drawn and resampled. All models are measured on the same
    resamples: the entry of a baseline gets `difference` too, the model minus the baseline with the
    interval of that.

    Args:
        metrics: task -> metric -> entry of result.json, changed in place.
        kinds: of the tasks.
        scores: of the test rows.
        seed: of the draws.
        rivals: predictions of baselines.
        baselines: name -> the same as `metrics`, changed in place.
    """
    keep, clusters = drawn(scores, seed) if rivals is None else rivals.rows
    functions: dict[str, Score] = {}
    entries: dict[str, list[dict[str, Any]]] = {}
    for task, kind in kinds.items():
        main = kind_of(kind).main
        entry = metrics[task].get(main)
        labels = scores.labels[task][keep]
        rows = np.flatnonzero(~np.isnan(labels))
        if entry is None or entry["value"] is None or not len(rows):
            continue
        entries[task], predicted = [entry], [scores.predictions[task][keep]]
        for name, by_task in (rivals.predictions if rivals else {}).items():
            other = (baselines or {}).get(name, {}).get(task, {}).get(main)
            if task in by_task and other is not None and other["value"] is not None:
                entries[task].append(other)
                predicted.append(by_task[task])
        known = labels[rows].astype(np.float64)
        values = [one[rows].astype(np.float64) for one in predicted]
        functions[task] = on_rows(rows, kind_of(kind).score([known] * len(values), values))
    if not functions:
        return
    weights = scores.weights[keep].astype(np.float64)
    draws_of = resampled(functions, weights, resamples=RESAMPLES, seed=seed, clusters=clusters)
    for task, draws in draws_of.items():
        first = entries[task][0]["value"]
        for model, entry in enumerate(entries[task]):
            entry |= _edges(entry["value"], draws[:, model])
            if model and (apart := _edges(first - entry["value"], draws[:, 0] - draws[:, model])):
                entry["difference"] = {"value": first - entry["value"]} | apart


def _edges(value: float, draws: Floats) -> dict[str, float]:
    """`low` and `high`; nothing where they are undefined."""
    edges = interval(value, draws)
    return {"low": edges.low, "high": edges.high} if np.isfinite(edges.low) else {}


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
        metrics[name] |= _edges(metrics[name]["value"], np.array(of_metric))
