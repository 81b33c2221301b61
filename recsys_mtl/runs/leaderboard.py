"""The finished runs in MLflow, best first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from recsys_mtl.config.task_facts import larger_is_better, task_sections
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.reports.report import Report
from recsys_mtl.tracking.registry import Registry, Version
from recsys_mtl.tracking.stored_runs import StoredRun, StoredRuns

_LOSS = "valid/loss"  # what `train` logs of the best epoch
_NOTHING = "–"


def leaderboard(
    *,
    experiment: str | None = None,
    metric: str | None = None,
    limit: int = 20,
    tracking_uri: str | None = None,
) -> Report:
    """Rank the finished runs in MLflow.

    Args:
        experiment: of the runs; default: all.
        metric: TASK/METRIC on the test rows, or `loss` (validation, best epoch); else the mean
            over tasks of their main metrics.
        limit: most rows.
        tracking_uri: default: the one of `train`.

    Raises:
        UserError: no such server, experiment or metric.
    """
    larger = metric is None or (metric != "loss" and larger_is_better(metric.rpartition("/")[2]))
    stored = StoredRuns(tracking_uri)
    runs = stored.finished(experiment)
    if metric is not None:
        _require_measured(runs, metric)
    ranked = sorted(runs, key=lambda run: _order(_value(run, metric), larger))[:limit]
    models: dict[str, list[Version]] = {}
    for version in Registry(stored.uri).all_versions():
        models.setdefault(version.run_id or "", []).append(version)
    rows = [_entry(run, metric, models.get(run.id, ())) for run in ranked]
    page = Page("Leaderboard", [_board(rows, metric, len(runs), larger)])
    numbers = {
        "tracking_uri": stored.shown,
        "experiment": experiment,
        "metric": metric,
        "finished": len(runs),
        "runs": rows,
    }
    return Report(page, numbers)


def _value(run: StoredRun, metric: str | None) -> float | None:
    """What a run is ranked by; None where it has no such number."""
    if metric is None:
        return _mean(run)
    value = run.metrics.get(_LOSS if metric == "loss" else f"test/{metric}")
    return None if value is None or math.isnan(value) else value


def _mean(run: StoredRun) -> float | None:
    """Mean over tasks of the main metric of each on the test rows."""
    by_task: dict[str, list[str]] = {}
    for key in run.metrics:
        if key.startswith("test/") and key.count("/") == 2:
            _, task, name = key.split("/")
            by_task.setdefault(task, []).append(name)
    mains = ((task, _main(names)) for task, names in by_task.items())
    values = [run.metrics[f"test/{task}/{main}"] for task, main in mains if main is not None]
    return fmean(values) if values else None


def _main(names: Sequence[str]) -> str | None:
    """The main metric of a task of which a run logged metrics of these names."""
    for section in task_sections().values():
        known = (*section.metrics, *section.of_lists)
        if section.main in names and all(any(m.is_of(name) for m in known) for name in names):
            return section.main
    return None


def _order(value: float | None, larger: bool) -> tuple[bool, float]:
    """Best first, runs without a value last."""
    return (True, 0.0) if value is None else (False, -value if larger else value)


def _require_measured(runs: Sequence[StoredRun], metric: str) -> None:
    if any(_value(run, metric) is not None for run in runs) or not runs:
        return
    known = {key.removeprefix("test/") for run in runs for key in run.metrics if "test/" in key}
    fix = did_you_mean(metric, known)
    raise wrong("no finished run has this metric", where="--metric", found=metric, fix=fix)


def _entry(run: StoredRun, metric: str | None, versions: Iterable[Version]) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "name": run.name,
        "started": run.started.isoformat(timespec="seconds"),
        "fingerprint": run.tags.get("data_fingerprint"),
        "value": _value(run, metric),
        "mean": _mean(run),
        "models": [
            {"name": v.name, "number": v.number, "aliases": list(v.aliases)} for v in versions
        ],
    }


def _board(rows: Sequence[Mapping[str, Any]], metric: str | None, all_: int, larger: bool) -> Table:
    cells = [
        [
            row["name"],
            row["run_id"][:8],
            row["started"][:16].replace("T", " "),
            (row["fingerprint"] or _NOTHING)[:8],
            ", ".join(_model(model) for model in row["models"]),
            *([_number(row["value"])] if metric else []),
            _number(row["mean"]),
        ]
        for row in rows
    ]
    columns = [
        "run",
        "id",
        "started (UTC)",
        "data",
        "models",
        *([metric] if metric else []),
        "mean",
    ]
    note = f"{len(rows)} of {all_} finished runs, {'largest' if larger else 'smallest'} first."
    note += " mean: over tasks, of " + ", ".join(
        f"{kind} {section.main}" for kind, section in task_sections().items()
    )
    if len({row["fingerprint"] for row in rows}) > 1:
        note += ". Runs of different data cannot be compared"
    return Table("Finished runs", columns, cells, texts=5, note=note + ".")


def _model(model: Mapping[str, Any]) -> str:
    aliases = "".join(f" @{alias}" for alias in model["aliases"])
    return f"{model['name']}/{model['number']}{aliases}"


def _number(value: float | None) -> str:
    return number(value, missing=_NOTHING)
