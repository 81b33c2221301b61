"""What a training and an evaluation return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import polars as pl

from recsys_mtl.reports.results import ResultTable
from recsys_mtl.reports.typed import (
    MetricsByTask,
    Part,
    Result,
    TaskResult,
    frame_of,
    metric_values,
)


@dataclass(frozen=True, kw_only=True)
class EpochResult(Part):
    """An epoch; keys as in docs/reference.md, by task where they are of a task."""

    epoch: int
    rows: int
    seconds: float
    score: float | None
    train_losses: Mapping[str, float | None]
    valid_losses: Mapping[str, float | None]
    labelled: Mapping[str, int]
    skipped_batches: int
    adatt: Mapping[str, Any] | None = None
    conflicts: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingProgress(Part):
    """How a training went; `best_epoch` counts from 0."""

    stopped: str
    best_epoch: int
    best_score: float | None
    skipped_batches: int
    rows_per_second: float
    seconds: float
    epochs: tuple[EpochResult, ...]


@dataclass(frozen=True, eq=False, repr=False)
class TrainingResult(Result):
    """A finished training. A process of several that is not the first knows `interrupted` alone.

    Attributes:
        interrupted: whether it was, by Ctrl-C.
        name, seed, device, precision: of the run.
        rows: of each split.
        warnings: what the data gave reason to warn of.
        recipe: the one that was taken.
        training: its epochs; None where it is not known.
        tasks: metrics on the test rows.
        baselines: by name, on the same rows.
        mlflow: the tracked run's ids and address, None where it is not tracked.
    """

    interrupted: bool
    name: str = ""
    seed: int = 0
    device: str = ""
    precision: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    recipe: str = ""
    training: TrainingProgress | None = None
    tasks: Mapping[str, TaskResult] = field(default_factory=dict)
    baselines: Mapping[str, MetricsByTask] = field(default_factory=dict)
    mlflow: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Of what a training's result.json holds."""
        if "tasks" not in document:
            return cls(document, document["interrupted"])
        training = document["training"]
        epochs = tuple(EpochResult.of(epoch) for epoch in training["epochs"])
        same = ("interrupted", "name", "seed", "device", "precision", "mlflow")
        return cls(
            document,
            **{key: document[key] for key in same},
            rows=document["data"]["rows"],
            warnings=tuple(document["data"]["warnings"]),
            recipe=document["recipe"]["name"],
            training=TrainingProgress.of({**training, "epochs": epochs}),
            tasks=TaskResult.by_name(document["tasks"]),
            baselines={
                name: {task: metric_values(metrics) for task, metrics in by_task.items()}
                for name, by_task in document["baselines"].items()
            },
        )

    def to_frame(self) -> pl.DataFrame:
        """A row a task and metric: value, low, high, labelled, and the value of each baseline."""
        return frame_of(self.tasks, self.baselines)


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationResult(Result):
    """A stored model on labelled rows.

    Attributes:
        table: for people.
        rows: how many.
        tasks: metrics.
        reachable: where the truth is known, by name (constant, oracle, reached) more metrics.
    """

    table: ResultTable
    rows: int
    tasks: Mapping[str, TaskResult]
    reachable: Mapping[str, MetricsByTask]

    @classmethod
    def of(cls, numbers: Mapping[str, Any], table: ResultTable) -> Self:
        """Of what `evaluate`'s result.json holds but for the head."""
        by_column: dict[str, dict[str, dict[str, Any]]] = {}
        for task, metrics in numbers["reachable"].items():
            for metric, columns in metrics.items():
                for column, entry in columns.items():
                    by_column.setdefault(column, {}).setdefault(task, {})[metric] = entry
        reachable = {
            column: {task: metric_values(metrics) for task, metrics in by_task.items()}
            for column, by_task in by_column.items()
        }
        return cls(numbers, table, numbers["rows"], TaskResult.by_name(numbers["tasks"]), reachable)

    @property
    def numbers(self) -> dict[str, Any]:
        """What result.json holds, but for its head."""
        return dict(self.document)

    def to_frame(self) -> pl.DataFrame:
        """A row a task and metric; where the truth is known constant, oracle and reached too."""
        return frame_of(self.tasks, self.reachable)
