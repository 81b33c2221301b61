"""Results of jobs as typed objects: the numbers of a result.json by name, a data frame, a page.

A result reads like the dict of its result.json too: `result["tasks"]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import polars as pl

from recsys_mtl.reports.output import plain
from recsys_mtl.tasks import kind_of

_HEAD = {"task": pl.String, "kind": pl.String, "metric": pl.String}
_VALUES = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "labelled": pl.Int64}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a result.json whose keys are the fields."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Of its dict; keys that have no field are left out."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})


@dataclass(frozen=True, kw_only=True)
class MetricValue(Part):
    """A metric on some rows.

    Attributes:
        value: None where it is undefined.
        low, high: its 95 % interval; None where none was computed.
        reason: why it is undefined.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


MetricsByTask = Mapping[str, Mapping[str, MetricValue]]


@dataclass(frozen=True, kw_only=True)
class TaskResult(Part):
    """What a model reaches on a task.

    Attributes:
        kind: of the task.
        labelled: rows with a label.
        metrics: by name.
        conditional, lists, segments: as in docs/reference.md, None where there are none.
    """

    kind: str
    labelled: int
    metrics: Mapping[str, MetricValue]
    conditional: Mapping[str, Any] | None = None
    lists: Mapping[str, Any] | None = None
    segments: Mapping[str, Any] | None = None

    @property
    def main(self) -> MetricValue:
        """The metric that the kind is judged by, such as AUC."""
        return self.metrics[self.main_name]

    @property
    def main_name(self) -> str:
        """Its name."""
        return kind_of(self.kind).main

    @classmethod
    def by_name(cls, tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Self]:
        """Of the section `tasks`."""
        return {
            name: cls.of({**facts, "metrics": metric_values(facts["metrics"])})
            for name, facts in tasks.items()
        }


def metric_values(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, MetricValue]:
    """By name, of their dicts."""
    return {name: MetricValue.of(entry) for name, entry in metrics.items()}


@dataclass(frozen=True, eq=False, repr=False)
class Result(Mapping[str, Any]):
    """Numbers of a job.

    Attributes:
        document: what result.json holds.
    """

    document: Mapping[str, Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """What result.json holds, in JSON's own types."""
        values: dict[str, Any] = plain(self.document)
        return values

    def to_frame(self) -> pl.DataFrame:
        """Its numbers as a table."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return html_of(self.to_frame())

    def __str__(self) -> str:
        return str(self.to_frame())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.document)})"

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.document)

    def __len__(self) -> int:
        return len(self.document)


def frame_of(
    tasks: Mapping[str, TaskResult], others: Mapping[str, MetricsByTask] | None = None
) -> pl.DataFrame:
    """A row a task and metric: task, kind, metric, value, low, high, labelled.

    Args:
        tasks: of a model.
        others: by name more columns of values, such as baselines; null where one lacks a metric.
    """
    others = others or {}
    rows = [
        (
            *(task, of.kind, name, metric.value, metric.low, metric.high, of.labelled),
            *(_value(by_task, task, name) for by_task in others.values()),
        )
        for task, of in tasks.items()
        for name, metric in of.metrics.items()
    ]
    schema = _HEAD | _VALUES | dict.fromkeys(others, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def _value(by_task: MetricsByTask, task: str, name: str) -> float | None:
    metric = by_task.get(task, {}).get(name)
    return None if metric is None else metric.value


def html_of(frame: pl.DataFrame) -> str:
    """All rows of a table, for a notebook."""
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_column_data_types=True):
        return str(frame._repr_html_())
