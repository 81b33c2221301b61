"""95 % intervals of the main test metrics, by the bootstrap over rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys_mtl.metrics import Metrics, to_json
from recsys_mtl.metrics.bootstrap import drawn_rows, interval, resampled
from recsys_mtl.metrics.weighing import Score, on_rows
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Scores

RESAMPLES = 200
MOST_ROWS = 50_000


def measured(scores: Scores, kinds: Mapping[str, str], *, seed: int) -> dict[str, Any]:
    """The section `tasks` of result.json: kind, labelled rows and metrics of each task.

    Args:
        scores: of the test rows.
        kinds: of the tasks.
        seed: of the intervals' draws.
    """
    metrics = {task: to_json(scores.metrics[task]) for task in kinds}
    add_intervals(metrics, kinds, scores, seed=seed)
    tasks: dict[str, Any] = {
        task: {"kind": kind, "labelled": scores.labelled[task], "metrics": metrics[task]}
        for task, kind in kinds.items()
    }
    for task, of in scores.conditional.items():
        own = {"given": of.given, "labelled": of.labelled, "metrics": to_json(of.metrics)}
        tasks[task]["conditional"] = own
    return tasks


def with_conditional(
    kinds: Mapping[str, str], scores: Scores
) -> tuple[dict[str, str], dict[str, Metrics]]:
    """Kinds and metrics for a table, a task `buy given click` after each one behind another."""
    shown: dict[str, str] = {}
    metrics: dict[str, Metrics] = {}
    for task, kind in kinds.items():
        shown[task], metrics[task] = kind, scores.metrics[task]
        if (of := scores.conditional.get(task)) is not None:
            title = f"{task} given {of.given}"
            shown[title], metrics[title] = kind, of.metrics
    return shown, metrics


def add_intervals(
    metrics: Mapping[str, dict[str, dict[str, Any]]],
    kinds: Mapping[str, str],
    scores: Scores,
    *,
    seed: int,
) -> None:
    """Add `low` and `high` to the value of each task's main metric.

    Of more than `MOST_ROWS` rows so many are drawn: the interval is then wider than it has to be.

    Args:
        metrics: task -> metric -> entry of result.json, changed in place.
        kinds: of the tasks.
        scores: of the test rows.
        seed: of the draws.
    """
    drawn = drawn_rows(len(scores.weights), MOST_ROWS, seed)
    functions: dict[str, Score] = {}
    for task, kind in kinds.items():
        entry = metrics[task].get(kind_of(kind).main)
        labels = scores.labels[task][drawn]
        rows = np.flatnonzero(~np.isnan(labels))
        if entry is not None and entry["value"] is not None and len(rows):
            known = labels[rows].astype(np.float64)
            predicted = scores.predictions[task][drawn][rows].astype(np.float64)
            functions[task] = on_rows(rows, kind_of(kind).score([known], [predicted]))
    if not functions:
        return
    weights = scores.weights[drawn].astype(np.float64)
    for task, draws in resampled(functions, weights, resamples=RESAMPLES, seed=seed).items():
        entry = metrics[task][kind_of(kinds[task]).main]
        edges = interval(entry["value"], draws[:, 0])
        if np.isfinite(edges.low):
            entry |= {"low": edges.low, "high": edges.high}
