"""Tables of a training for programs and for MLflow's page, which shows CSV files as tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recsys_mtl.metrics import Metrics, to_json

Baselines = dict[str, dict[str, Metrics]]


def metrics_csv(tasks: Mapping[str, Any], others: Baselines) -> str:
    """A row for each task and metric: the model on the test rows, its interval, the baselines.

    Args:
        tasks: the section of result.json.
        others: of the baselines.
    """
    baselines = {
        name: {task: to_json(of) for task, of in by.items()} for name, by in others.items()
    }
    rows = []
    for task, facts in tasks.items():
        for metric, entry in facts["metrics"].items():
            known = (by.get(task, {}).get(metric, {}).get("value") for by in baselines.values())
            own = entry["value"], entry.get("low"), entry.get("high")
            rows.append([task, metric, *own, *known])
    return _csv(["task", "metric", "model", "low", "high", *baselines], rows)


def segments_csv(tasks: Mapping[str, Any]) -> str:
    """A row for each segment, task and metric; empty where there are no segments."""
    rows = [
        [column, value, task, segment["rows"], segment["labelled"], metric, entry["value"]]
        for task, facts in tasks.items()
        for column, by_value in facts.get("segments", {}).items()
        for value, segment in by_value.items()
        for metric, entry in segment["metrics"].items()
    ]
    columns = ["column", "segment", "task", "rows", "labelled", "metric", "value"]
    return _csv(columns, rows) if rows else ""


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    shown = ([f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in rows)
    csv.writer(file, lineterminator="\n").writerows([columns, *shown])
    return file.getvalue()
