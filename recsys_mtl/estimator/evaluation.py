"""What `MultiTaskModel.evaluate` returns: metrics of each task, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from recsys_mtl.reports.intervals_figure import intervals_of
from recsys_mtl.tasks import kind_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCHEMA = {
    "task": pl.String, "kind": pl.String, "metric": pl.String, "value": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "labelled": pl.Int64,
}  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """A model's metrics on some rows.

    Attributes:
        tasks: by task its `kind`, `labelled` rows and `metrics`: by name `value`, and where they
            are computed `low` and `high`, the 95 % interval of a bootstrap over rows; `value` is
            None with a `reason` where the metric is undefined.
        rows: how many.
    """

    tasks: Mapping[str, Mapping[str, Any]]
    rows: int

    @property
    def score(self) -> float:
        """Mean of the tasks' main metrics (AUC, rank correlation …); NaN if one is undefined."""
        values = [self._main(task)["value"] for task in self.tasks]
        return float("nan") if None in values else sum(values) / len(values)

    def to_frame(self) -> pl.DataFrame:
        """A row a task and metric: task, kind, metric, value, low, high, labelled."""
        return pl.DataFrame(
            [
                {"task": task, "kind": facts["kind"], "metric": name}
                | {key: metric.get(key) for key in ("value", "low", "high")}
                | {"labelled": facts["labelled"]}
                for task, facts in self.tasks.items()
                for name, metric in facts["metrics"].items()
            ],
            schema=_SCHEMA,
        )

    def plot(self) -> Figure:
        """The main metric of each task with its interval."""
        entries = []
        for task in self.tasks:
            metric = self._main(task)
            name = f"{task}  {self._name(task)}"
            entries.append((name, metric["value"], metric.get("low"), metric.get("high")))
        return intervals_of(entries, title=f"{self.rows:,} rows, 95 % intervals", zero=False)

    def _name(self, task: str) -> str:
        return kind_of(self.tasks[task]["kind"]).main

    def _main(self, task: str) -> Mapping[str, Any]:
        metrics: Mapping[str, Mapping[str, Any]] = self.tasks[task]["metrics"]
        return metrics[self._name(task)]

    def _repr_html_(self) -> str:
        return str(self.to_frame()._repr_html_())

    def __str__(self) -> str:
        return str(self.to_frame())
