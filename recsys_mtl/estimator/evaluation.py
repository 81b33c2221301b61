"""What `MultiTaskModel.evaluate` returns: metrics of each task, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from recsys_mtl.reports.intervals_figure import intervals_of
from recsys_mtl.reports.typed import Result, TaskResult, frame_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Result):
    """A model's metrics on some rows, with 95 % intervals of a bootstrap over rows.

    Attributes:
        tasks: by name.
        rows: how many.
    """

    tasks: Mapping[str, TaskResult]
    rows: int

    @classmethod
    def of(cls, tasks: Mapping[str, Any], rows: int) -> Self:
        """Of the section `tasks` of a result.json."""
        return cls({"rows": rows, "tasks": tasks}, TaskResult.by_name(tasks), rows)

    @property
    def score(self) -> float:
        """Mean of the tasks' main metrics (AUC, rank correlation …); NaN if one is undefined."""
        values = [task.main.value for task in self.tasks.values()]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else float("nan")

    def to_frame(self) -> pl.DataFrame:
        """A row a task and metric: task, kind, metric, value, low, high, labelled."""
        return frame_of(self.tasks)

    def plot(self) -> Figure:
        """The main metric of each task with its interval."""
        entries = [
            (f"{name}  {task.main_name}", task.main.value, task.main.low, task.main.high)
            for name, task in self.tasks.items()
        ]
        return intervals_of(entries, title=f"{self.rows:,} rows, 95 % intervals", zero=False)
