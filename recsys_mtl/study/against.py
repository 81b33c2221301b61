"""Arms on several tables against the best of some rivals, as numbers and as a page.

Every score is in points, times 100, and larger is better: log loss counts with a minus sign. The
rival of a task is the arm of `rivals` with the best mean score over seeds. Differences are paired
by seed; the mean of a table is over its tasks, that of all is over tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from recsys_mtl.metrics.bootstrap import LEVEL
from recsys_mtl.metrics.differences import Difference, difference
from recsys_mtl.reports.cells import number, with_interval
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.study.unit import UnitResult
from recsys_mtl.tasks import kind_of

LOG_LOSS = "log_loss"
ALL = "all"
COSTS = ("seconds", "epochs", "predict_ms")


class Task(NamedTuple):
    """A task of a table."""

    table: str
    name: str


BySeed = dict[int, float]
Values = dict[Task, dict[str, BySeed]]
"""Task -> arm -> seed -> value."""


@dataclass(frozen=True)
class ArmOnTask:
    """An arm's mean scores over seeds and its differences, None where there are none.

    Attributes:
        score: the main metric.
        log_loss: None where the kind has none.
        points: over the rival.
        log_loss_points: likewise.
        over_reference: points over the reference; None for itself.
    """

    score: float
    log_loss: float | None
    points: Difference | None
    log_loss_points: Difference | None
    over_reference: Difference | None


@dataclass(frozen=True)
class TaskSummary:
    """A task: its kind, main metric, rival (None without rivals) and arms."""

    kind: str
    metric: str
    rival: str | None
    arms: dict[str, ArmOnTask]


@dataclass(frozen=True)
class ArmOnTable:
    """An arm's mean points over a table's tasks, or over all tables, and its costs.

    Attributes:
        points: over the rivals; None without any.
        log_loss_points: likewise, over the tasks that have a log loss.
        over_reference: over the reference; None for itself.
        costs: median of each of `COSTS` that the arm has.
    """

    points: Difference | None
    log_loss_points: Difference | None
    over_reference: Difference | None
    costs: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """Everything: by table and task, and by table (`ALL` is the mean over tables) and arm."""

    reference: str
    rivals: list[str]
    seeds: list[int]
    tasks: dict[str, dict[str, TaskSummary]]
    tables: dict[str, dict[str, ArmOnTable]]


def summarize(
    results: Sequence[UnitResult],
    *,
    reference: str,
    rivals: Sequence[str],
    metric: str | None = None,
) -> Summary:
    """Compare all arms with the rivals and with the reference.

    Args:
        results: of units with arm, table, seed, kinds, metrics (as JSON) and `COSTS`.
        reference: an arm that the others are compared with too.
        rivals: arms, of which the best on a task counts.
        metric: judges the tasks that have it, larger being better (gauc); the others, and all
            where None, are judged by the main metric of their kind.
    """
    kinds = {Task(r["table"], task): k for r in results for task, k in r["kinds"].items()}
    having = {
        Task(r["table"], task) for r in results for task, m in r["metrics"].items() if metric in m
    }
    judge = {
        task: metric if metric is not None and task in having else _main(kind)
        for task, kind in kinds.items()
    }
    main = _values(results, judge, sign=1)
    loss = _values(results, dict.fromkeys(kinds, LOG_LOSS), sign=-1)
    best, best_loss = _best(main, rivals), _best(loss, rivals)
    points, loss_points = _over(main, best), _over(loss, best_loss)
    over_reference = _over(main, dict.fromkeys(main, reference))
    tables = list(dict.fromkeys(task.table for task in kinds))
    arms = list(dict.fromkeys(r["arm"] for r in results))
    means = [_means(each) for each in (points, loss_points, over_reference)]

    def on_task(task: Task, arm: str) -> ArmOnTask:
        losses = loss.get(task, {}).get(arm)
        return ArmOnTask(
            score=_mean(main[task][arm]),
            log_loss=None if losses is None else -_mean(losses),
            points=_difference(points, task, arm),
            log_loss_points=_difference(loss_points, task, arm),
            over_reference=None if arm == reference else _difference(over_reference, task, arm),
        )

    def on_table(table: str, arm: str) -> ArmOnTable:
        over_rival, by_loss, over_first = (_difference(each, table, arm) for each in means)
        own = [r for r in results if r["arm"] == arm and table in (r["table"], ALL)]
        costs = {} if table == ALL and len(tables) > 1 else _costs(own)
        return ArmOnTable(over_rival, by_loss, None if arm == reference else over_first, costs)

    return Summary(
        reference=reference,
        rivals=[arm for arm in arms if arm in rivals],
        seeds=sorted({r["seed"] for r in results}),
        tasks={
            table: {
                task.name: TaskSummary(
                    kind=kind,
                    metric=judge[task],
                    rival=best.get(task),
                    arms={arm: on_task(task, arm) for arm in arms if arm in main[task]},
                )
                for task, kind in kinds.items()
                if task.table == table
            }
            for table in tables
        },
        tables={
            table: {arm: on_table(table, arm) for arm in arms}
            for table in [*tables, *([ALL] if len(tables) > 1 else [])]
        },
    )


def make_page(title: str, summary: Summary) -> Page:
    """The report: what is compared, a table of tasks and one of means and costs."""
    head = (
        f"{len(summary.seeds)} seeds, each another split and other initial weights. A point is "
        f"0.01 of the metric; intervals ({100 * LEVEL:g} %) are by Student's t over the paired "
        "seeds. Log loss counts with a minus sign: more is better."
    )
    if summary.rivals:
        head += (
            f" The rival of a task is the best of {', '.join(summary.rivals)} in the mean over "
            "seeds, chosen for the main metric and for log loss apart."
        )
    return Page(title, [head, _by_task(summary), _log_losses(summary), _by_table(summary)])


def _by_task(summary: Summary) -> Table:
    columns = ("table", "task", "arm", "score", "over the rival", f"over {summary.reference}")
    metrics = {one.kind: one.metric for tasks in summary.tasks.values() for one in tasks.values()}
    note = "Scores: " + ", ".join(f"{metric} ({kind})" for kind, metric in metrics.items()) + "."
    rows = [
        [*head, number(own.score), gap or _cell(own.points), _cell(own.over_reference)]
        for head, gap, own in _arms_on_tasks(summary)
    ]
    return Table("Tasks", columns, rows, texts=3, note=note, dense=True)


def _log_losses(summary: Summary) -> Table:
    columns = ("table", "task", "arm", "log loss", "over the rival")
    rows = [
        [*head, number(own.log_loss), _cell(own.log_loss_points)]
        for head, _, own in _arms_on_tasks(summary)
        if own.log_loss is not None
    ]
    return Table("Log loss", columns, rows, texts=3, dense=True, printed=False)


def _arms_on_tasks(summary: Summary) -> Iterator[tuple[list[str], str, ArmOnTask]]:
    """Table, task (where they begin) and arm; whether it is the rival, in words; its numbers."""
    for table, tasks in summary.tasks.items():
        for task, one in tasks.items():
            for index, (arm, own) in enumerate(one.arms.items()):
                rival = "the rival" if arm == one.rival else ""
                yield [*(["", ""] if index else [table, task]), arm], rival, own


def _by_table(summary: Summary) -> Table:
    rows = []
    for table, arms in summary.tables.items():
        for index, (arm, own) in enumerate(arms.items()):
            rows.append(
                [
                    "" if index else table,
                    arm,
                    _cell(own.points),
                    _short(own.log_loss_points),
                    _cell(own.over_reference),
                    *(_cost(own.costs.get(name)) for name in COSTS),
                ]
            )
    columns = ("table", "arm", "over rivals", "log loss", f"over {summary.reference}",
               "seconds", "epochs", "ms")  # fmt: skip
    note = (
        "Mean points over tasks, and over tables; medians of the CPU seconds to train and test all "
        "tasks, of epochs trained, and of CPU milliseconds to predict 1,000 rows."
    )
    return Table("Means and costs", columns, rows, texts=2, note=note, dense=True)


def _cost(value: float | None) -> str:
    return number(value, ".3g" if value is not None and value < 100 else ",.0f")


def _main(kind: str) -> str:
    name: str = kind_of(kind).section.main
    return name


def _constant(kind: str, metric: str) -> float | None:
    metrics = kind_of(kind).section.metrics
    return next((spec.constant for spec in metrics if spec.is_of(metric)), None)


def _values(results: Sequence[UnitResult], metrics: Mapping[Task, str], *, sign: int) -> Values:
    """Of tasks that have the metric; where it is undefined, that of a constant counts."""
    values: Values = {}
    for result in results:
        for name, measured in result["metrics"].items():
            task = Task(result["table"], name)
            metric = metrics[task]
            if metric in measured:
                value = measured[metric]["value"]
                if value is None:
                    value = _constant(result["kinds"][name], metric)
                own = values.setdefault(task, {}).setdefault(result["arm"], {})
                own[result["seed"]] = float("nan") if value is None else sign * value
    return values


def _best(values: Values, rivals: Sequence[str]) -> dict[Task, str]:
    best = {}
    for task, arms in values.items():
        means = {arm: _mean(own) for arm, own in arms.items() if arm in rivals}
        if means:
            best[task] = max(means, key=lambda arm: np.nan_to_num(means[arm], nan=-np.inf))
    return best


def _over(values: Values, rival: Mapping[Task, str]) -> Values:
    """In points, on seeds that both have."""
    return {
        task: {
            arm: {seed: 100 * (own[seed] - other[seed]) for seed in own.keys() & other.keys()}
            for arm, own in arms.items()
        }
        for task, arms in values.items()
        if (other := arms.get(rival.get(task, "")))
    }


def _means(points: Values) -> dict[str, dict[str, BySeed]]:
    """Table, or `ALL`, -> arm -> seed -> mean, on the seeds that each task, or table, has."""
    by_table: dict[str, list[dict[str, BySeed]]] = {}
    for task, arms in points.items():
        by_table.setdefault(task.table, []).append(arms)
    means = {table: _mean_of(tasks) for table, tasks in by_table.items()}
    return {**means, ALL: _mean_of(means.values())}


def _mean_of(parts: Iterable[Mapping[str, BySeed]]) -> dict[str, BySeed]:
    parts = list(parts)
    means = {}
    for arm in parts[0] if parts else ():
        own = [part.get(arm, {}) for part in parts]
        seeds = set.intersection(*map(set, own))
        means[arm] = {seed: float(np.mean([each[seed] for each in own])) for seed in seeds}
    return means


def _difference(
    values: Mapping[Any, Mapping[str, BySeed]], key: Any, arm: str
) -> Difference | None:
    own = values.get(key, {}).get(arm)
    return difference(np.array(list(own.values()))) if own else None


def _costs(results: Sequence[UnitResult]) -> dict[str, float]:
    known = {name: [r[name] for r in results if r.get(name) is not None] for name in COSTS}
    return {name: float(np.median(values)) for name, values in known.items() if values}


def _mean(values: BySeed) -> float:
    return float(np.mean(list(values.values())))


def _cell(one: Difference | None) -> str:
    return "" if one is None else with_interval(one.mean, one.low, one.high, 2)


def _short(one: Difference | None) -> str:
    return "" if one is None else number(one.mean, "+.2f")
