"""Finished trainings in one table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recsys_mtl.config.task_facts import larger_is_better, task_sections
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.output import plain
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.reports.report import Report
from recsys_mtl.runs.trained import Trained, read_trained

if TYPE_CHECKING:
    from recsys_mtl.runs.paired import Paired

log = logging.getLogger(__name__)
_ELSEWHERE = ("name", "tracking.", "data.root")  # keys of the config that change no number
_NOTHING = "–"
_PAIRED = (
    "* ahead in a main metric, or one within lists: the 95 % intervals of its differences to all "
    "others on the same test rows are above 0 (below, where less is better). Without a star these "
    "test rows decide nothing."
)
_DRAWN = " Differences are measured on {:,} drawn test rows, metrics on all rows."
_APART = (
    "* ahead in a main metric, or one within lists: its 95 % interval overlaps with no other's. "
    "Without a star these test rows decide nothing."
)
_OTHER_ROWS = "The test rows differ: these numbers cannot be compared."
Interval = tuple[float, float]
Key = tuple[str, str]
"""Task and metric."""


def compare(
    runs: Sequence[str], *, tracking_uri: str | None = None, predict: bool = True
) -> Report:
    """Compare finished trainings.

    Args:
        runs: output folders, MLflow run ids, or both; two or more.
        tracking_uri: where ids are looked up.
        predict: whether the models predict the test rows again, where these are there, so that
            differences are paired; else their intervals are compared.

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
    metrics = {key: [run.metric(*key) for run in trained] for key in shown}
    rule, pairs = _paired(trained, shown, predict) if same else (_OTHER_ROWS, None)
    stars: dict[Key, int | None] = {}
    if pairs is not None:
        first = {key: pair.ahead() for key, pair in pairs.items()}
        stars = {key: i for key, i in first.items() if i in best(metrics[key], key[1])}
    elif same:
        intervals = {key: [run.interval(*key) for run in trained] for key in shown}
        stars = {key: ahead(metrics[key], intervals[key], key[1]) for key in shown}
    page = Page(
        f"Comparison of {len(trained)} runs",
        [
            _metric_table(labels, metrics, stars, rule),
            *_difference_table(labels, pairs or {}),
            _cost_table(labels, trained),
            _config_table(labels, differing),
        ],
    )
    numbers = {
        "runs": [_identity(label, run) for label, run in zip(labels, trained, strict=True)],
        "same_test_rows": same,
        "config": differing,
        "metrics": {"/".join(key): values for key, values in metrics.items()},
        "rule": rule,
        "ahead": {"/".join(key): labels[i] for key, i in stars.items() if i is not None},
        "differences": {
            "/".join(key): [asdict(pair.difference(i, 0)) for i in range(1, len(labels))]
            for key, pair in (pairs or {}).items()
        },
    }
    return Report(page, plain(numbers))


def _paired(
    runs: Sequence[Trained], shown: Sequence[Key], predict: bool
) -> tuple[str, Mapping[Key, Paired] | None]:
    """By which rule a run is ahead, and its pairs where the rows are there."""
    if not predict:
        return _APART, None
    from recsys_mtl.runs.paired import paired  # torch takes seconds to import

    try:
        pairs = paired(runs, shown)
        drawn = {pair.drawn for pair in pairs.values() if pair.drawn}
        return _PAIRED + "".join(map(_DRAWN.format, drawn)), pairs
    except UserError as error:
        log.warning("differences are not paired: %s", error)
        return f"{_APART} Not paired: {error}.", None


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


def _shown(runs: Sequence[Trained]) -> list[Key]:
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
) -> int | None:
    """Index of the best of several values, where its interval overlaps with no other's.

    Of runs on the same rows this is stricter than a paired comparison.
    """
    leaders = best(values, metric)
    if len(leaders) != 1 or None in intervals:
        return None
    (leader,) = leaders
    known = [interval for interval in intervals if interval is not None]
    low, high = known.pop(leader)
    apart = all(low > other[1] or high < other[0] for other in known)
    return leader if apart else None


def _metric_table(
    labels: Sequence[str],
    metrics: Mapping[Key, Sequence[float | None]],
    stars: Mapping[Key, int | None],
    rule: str,
) -> Table:
    rows = []
    for key, values in metrics.items():
        star = stars.get(key)
        cells = [_number(v) + ("*" if i == star else " ") for i, v in enumerate(values)]
        rows.append([*key, *cells])
    return Table("Test metrics", ["task", "metric", *labels], rows, texts=2, note=rule)


def _difference_table(labels: Sequence[str], pairs: Mapping[Key, Paired]) -> Iterator[Table]:
    """The paired differences to the first run."""
    if not pairs:
        return
    rows = []
    for key, pair in pairs.items():
        gains = (pair.difference(i, 0) for i in range(1, len(labels)))
        rows.append([*key, *(f"{g.value:+.4f} [{g.low:+.4f}, {g.high:+.4f}]" for g in gains)])
    columns = ["task", "metric", *labels[1:]]
    note = "On the same test rows, with 95 % intervals of each row; other seeds are not in them."
    yield Table(f"Differences to {labels[0]}", columns, rows, texts=2, note=note)


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
