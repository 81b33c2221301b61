"""The section `tasks` of result.json: metrics on the test rows, in lists and by segment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from recsys_mtl.columns.keys import NO_GROUP
from recsys_mtl.config.schema import EvaluationConfig
from recsys_mtl.metrics import Metrics, to_json
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.page import Table
from recsys_mtl.runs.intervals import Rivals, add_intervals, add_list_intervals
from recsys_mtl.tasks import kind_of
from recsys_mtl.tasks.evaluate import evaluate_lists, evaluate_task
from recsys_mtl.training.evaluate import Scores


def measured(
    scores: Scores,
    kinds: Mapping[str, str],
    evaluation: EvaluationConfig,
    *,
    seed: int,
    rivals: Rivals | None = None,
    baselines: Mapping[str, Mapping[str, dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Kind, labelled rows and metrics of each task, and its lists and segments if there are any.

    Args:
        scores: of the test rows.
        kinds: of the tasks.
        evaluation: the run's.
        seed: of the intervals' draws.
        rivals: predictions of baselines.
        baselines: entries of baselines, which get intervals; see `add_intervals`.
    """
    metrics = {task: to_json(scores.metrics[task]) for task in kinds}
    add_intervals(metrics, kinds, scores, seed=seed, rivals=rivals, baselines=baselines)
    tasks: dict[str, Any] = {
        task: {"kind": kind, "labelled": scores.labelled[task], "metrics": metrics[task]}
        for task, kind in kinds.items()
    }
    for task, of in scores.conditional.items():
        own = {"given": of.given, "labelled": of.labelled, "metrics": to_json(of.metrics)}
        tasks[task]["conditional"] = own
    for task, facts in tasks.items():
        if scores.groups is not None:
            facts |= _lists(facts, scores, task, evaluation, seed)
        if scores.segments:
            facts["segments"] = _segments(facts["kind"], scores, task, evaluation)
    return tasks


def intervals_of(tasks: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """The 95 % intervals in the section `tasks`, by task and metric, where there are any."""
    return {
        task: {
            name: (entry["low"], entry["high"])
            for name, entry in facts["metrics"].items()
            if entry.get("low") is not None
        }
        for task, facts in tasks.items()
    }


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


def _lists(
    facts: dict[str, Any], scores: Scores, task: str, evaluation: EvaluationConfig, seed: int
) -> dict[str, Any]:
    """How many lists there are and count; the entries of `metrics` get intervals."""
    assert scores.groups is not None
    labels, weights = scores.labels[task], np.asarray(scores.weights, np.float64)
    lists = evaluate_lists(
        facts["kind"], labels, scores.predictions[task], weights, scores.groups,
        top_k=evaluation.top_k,
    )  # fmt: skip
    if lists is None:
        return {}
    add_list_intervals(facts["metrics"], lists, seed)
    counted = ~np.isnan(labels) & (weights > 0)
    return {
        "lists": {
            "column": evaluation.groups,
            "count": len(lists.first),
            "alike": len(lists.first) - lists.ranked,
            "rows_in_none": int((counted & (scores.groups == NO_GROUP)).sum()),
        }
    }


def _segments(
    kind: str, scores: Scores, task: str, evaluation: EvaluationConfig
) -> dict[str, dict[str, Any]]:
    """Column -> segment -> its rows, labelled rows and every metric."""
    labels, predictions = scores.labels[task], scores.predictions[task]
    weights = scores.weights
    by_column: dict[str, dict[str, Any]] = {}
    for column, name, rows in segments_of(scores):
        metrics = evaluate_task(
            kind,
            labels[rows],
            predictions[rows],
            weights[rows],
            calibration_bins=evaluation.calibration_bins,
            top_k=evaluation.top_k,
            groups=None if scores.groups is None else scores.groups[rows],
        )
        by_column.setdefault(column, {})[name] = {
            "rows": len(rows),
            "labelled": int((~np.isnan(labels[rows]) & (weights[rows] > 0)).sum()),
            "metrics": to_json(metrics),
        }
    return by_column


def segments_of(scores: Scores) -> Iterator[tuple[str, str, Any]]:
    """Column, name and row indices of each segment that has rows."""
    for column, (codes, names) in scores.segments.items():
        for code, name in enumerate(names):
            rows = np.flatnonzero(codes == code)
            if len(rows):
                yield column, name, rows


def segment_table(tasks: Mapping[str, Any]) -> Table | None:
    """The main metric of every task by segment, GAUC where it has one; None without segments."""
    shown = {
        task: "gauc" if "gauc" in facts["metrics"] else kind_of(facts["kind"]).main
        for task, facts in tasks.items()
    }
    first = next(iter(tasks.values())).get("segments", {})
    rows = []
    for column, by_value in first.items():
        for value, segment in by_value.items():
            entries = (tasks[t]["segments"][column][value]["metrics"][m] for t, m in shown.items())
            cells = (number(entry["value"]) for entry in entries)
            rows.append([f"{column}={value}", f"{segment['rows']:,}", *cells])
    note = "Of " + ", ".join(f"{task} {metric}" for task, metric in shown.items()) + "."
    columns, title = ["segment", "rows", *shown], "Segments of the test rows"
    return Table(title, columns, rows, note=note, dense=True) if rows else None
