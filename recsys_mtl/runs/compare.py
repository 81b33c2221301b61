"""Finished trainings in one table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from recsys_mtl.config.task_facts import larger_is_better, task_sections
from recsys_mtl.errors import wrong
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.reports.report import Report
from recsys_mtl.runs.trained import Trained, read_trained

log = logging.getLogger(__name__)
_ELSEWHERE = ("name", "tracking.", "data.root")  # keys of the config that change no number
_NOTHING = "–"
Interval = tuple[float, float]


def compare(runs: Sequence[str], *, tracking_uri: str | None = None) -> Report:
    """Compare finished trainings.

    Args:
        runs: output folders, MLflow run ids, or both; two or more.
        tracking_uri: where ids are looked up.

    Raises:
        UserError: fewer than two, or one of them is no training.
    """
    if len(runs) < 2:
        raise wrong("nothing to compare", where="RUN", expected="two runs or more")
    trained = [read_trained(run, tracking_uri) for run in runs]
    labels = _labels(trained)
    same = len({run.test_rows() for run in trained}) == 1
    if not same:
        log.warning("the test rows of these runs differ: their metrics cannot be compared")
    differing = _differing(trained)
    shown = _shown(trained)
    metrics = {
        f"{task}/{name}": [run.metric(task, name) for run in trained] for task, name in shown
    }
    intervals = [[run.interval(task, name) for run in trained] for task, name in shown]
    page = Page(
        f"Comparison of {len(trained)} runs",
        [
            _metric_table(labels, metrics, intervals, marked=same),
            _cost_table(labels, trained),
            _config_table(labels, differing),
        ],
    )
    numbers = {
        "runs": [_identity(label, run) for label, run in zip(labels, trained, strict=True)],
        "same_test_rows": same,
        "config": differing,
        "metrics": metrics,
    }
    return Report(page, numbers)


def _labels(runs: Sequence[Trained]) -> list[str]:
    """Names of the runs, numbered where two are the same."""
    names = [run.label for run in runs]
    return [
        f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, start=1)
    ]


def _differing(runs: Sequence[Trained]) -> dict[str, list[Any]]:
    """The config's keys that are not the same in all runs; None where a run lacks one."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    values = {
        key: [run.config.get(key) for run in runs] for key in keys if not key.startswith(_ELSEWHERE)
    }
    return {key: each for key, each in values.items() if any(v != each[0] for v in each)}


def _shown(runs: Sequence[Trained]) -> list[tuple[str, str]]:
    """Task and metric of every row."""
    return list(
        dict.fromkeys(
            (task, name)
            for run in runs
            for task, facts in run.result["tasks"].items()
            for name in task_sections()[facts["kind"]].shown(facts["metrics"])
        )
    )


def best(values: Sequence[float | None], metric: str) -> set[int]:
    """Indices of the best of several values of a metric; none where all are equal."""
    known = {i: value for i, value in enumerate(values) if value is not None}
    if len(set(known.values())) < 2:
        return set()
    top = (max if larger_is_better(metric) else min)(known.values())
    return {i for i, value in known.items() if value == top}


def ahead(
    values: Sequence[float | None], intervals: Sequence[Interval | None], metric: str
) -> set[int]:
    """The best of several values, where its interval overlaps with no other's.

    The runs are measured on the same rows, so this is stricter than a paired comparison.
    """
    leaders = best(values, metric)
    if len(leaders) != 1 or None in intervals:
        return set()
    (leader,) = leaders
    known = [interval for interval in intervals if interval is not None]
    low, high = known.pop(leader)
    apart = all(low > other[1] or high < other[0] for other in known)
    return leaders if apart else set()


def _metric_table(
    labels: Sequence[str],
    metrics: Mapping[str, Sequence[float | None]],
    intervals: Sequence[Sequence[Interval | None]],
    *,
    marked: bool,
) -> Table:
    rows = []
    for (key, values), of in zip(metrics.items(), intervals, strict=True):
        task, _, name = key.rpartition("/")
        stars = ahead(values, of, name) if marked else set()
        cells = [_number(v) + ("*" if i in stars else " ") for i, v in enumerate(values)]
        rows.append([task, name, *cells])
    note = "* ahead: its interval (95 %) overlaps with no other's. Without a star these test rows "
    note += "decide nothing."
    if not marked:
        note = "The test rows differ: these numbers cannot be compared."
    return Table("Test metrics", ["task", "metric", *labels], rows, texts=2, note=note)


def _cost_table(labels: Sequence[str], runs: Sequence[Trained]) -> Table:
    results = [run.result for run in runs]
    rows = [
        ["training, s", *(f"{r['training']['seconds']:.1f}" for r in results)],
        ["rows per second", *(f"{r['training']['rows_per_second']:,.0f}" for r in results)],
        ["best epoch, from 1", *(str(r["training"]["best_epoch"] + 1) for r in results)],
        ["peak memory, MiB", *(f"{r['peak_memory_mb']:,.0f}" for r in results)],
        ["device", *(str(r["device"]) for r in results)],
        ["test rows", *(f"{r['data']['rows']['test']:,}" for r in results)],
        ["data fingerprint", *(r["data"]["fingerprint"][:12] for r in results)],
    ]
    return Table("Cost and data", ["", *labels], rows)


def _config_table(labels: Sequence[str], differing: Mapping[str, Sequence[Any]]) -> Table:
    rows = [
        [key, *(_NOTHING if value is None else str(value) for value in values)]
        for key, values in differing.items()
    ]
    note = "" if rows else "The configs are equal."
    return Table("Config: the keys that differ", ["key", *labels], rows, note=note)


def _identity(label: str, run: Trained) -> dict[str, Any]:
    return {
        "label": label,
        "folder": run.folder,
        "run_id": (run.result.get("mlflow") or {}).get("run_id"),
        "config_hash": run.result["config_hash"],
        "fingerprint": run.result["data"]["fingerprint"],
        "seconds": run.result["training"]["seconds"],
        "peak_memory_mb": run.result["peak_memory_mb"],
    }


def _number(value: float | None) -> str:
    return number(value, missing=_NOTHING)
