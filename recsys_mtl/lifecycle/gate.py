"""What a gate's YAML may contain: how much a challenger may lose, and what it must gain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt

from recsys_mtl.config import read_text, section_from_yaml
from recsys_mtl.config.section import Name, NonNegative, Section
from recsys_mtl.errors import Problem, UserError, did_you_mean


class TaskGate(Section):
    """Limits of one task; null takes those of the gate."""

    worst: NonNegative | None = Field(None, description="as the gate's")
    calibration: NonNegative | None = Field(None, description="as the gate's")
    metric: Name | None = Field(None, description="as the gate's; the task has to have it")


class Gate(Section):
    """When a challenger may become the champion; gains and losses are differences of scores."""

    worst: NonNegative = Field(
        0.005,
        description="a task fails when it loses surely more than this: when the upper end of its "
        "gain's 95 % interval lies below -worst",
    )
    strict: bool = Field(
        False,
        description="a task fails already when it may lose more than `worst`, or its calibration "
        "error may grow by more than `calibration`: the other ends of the intervals count; for a "
        "calibrated champion the growth is estimated too near 0 and no interval held the true one, "
        "0.028: 0.021 with 20,000 rows, 0.013 with 2,000; 0.02 let 7 % and 50 % of these pass",
    )
    mean: float = Field(
        0.0,
        description="the lower end of the 95 % interval of the mean gain over gated tasks must lie "
        "above this; a negative value lets a challenger pass that is not proven better",
    )
    calibration: NonNegative = Field(
        0.02,
        description="a task fails when its calibration error surely grows by more: when the lower "
        "end of the growth's 95 % interval lies above this; of binary tasks the expected "
        "calibration error, of numbers, counts and amounts the error of the mean, relative "
        "to the mean absolute label",
    )
    metric: Name | None = Field(
        None,
        description="score of the tasks that have it, `gauc`, `ndcg_at_K`, `hit_rate_at_K` or "
        "`mrr` within the lists of the challenger's `evaluation.groups`; null: the main metric",
    )
    segments: NonNegative | None = Field(
        None,
        description="a task fails when it loses surely more than this in one of the challenger's "
        "`evaluation.segments`; null: segments are not judged",
    )
    min_rows: PositiveInt = Field(200, description="labelled rows that a task needs to be gated")
    min_class: PositiveInt = Field(
        20,
        description="rows of the smaller class that a binary task needs to be gated: with ten or "
        "fewer the interval of an AUC's gain is too narrow",
    )
    min_groups: PositiveInt = Field(
        30,
        description="groups or lists that a task's labelled rows need to lie in to be gated, where "
        "those are resampled: of few the interval is too narrow",
    )
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        1000, description="of the bootstrap"
    )
    rows: Annotated[int, Field(ge=100)] = Field(
        100_000, description="of more evaluation rows so many are drawn, once, without replacement"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="of the drawn rows and of the bootstrap"
    )
    tasks: dict[Name, TaskGate] = Field({}, description="task -> limits of its own")

    def worst_of(self, task: str) -> float:
        """The loss that a task may have."""
        own = self.tasks[task].worst if task in self.tasks else None
        return self.worst if own is None else own

    def metric_of(self, task: str) -> str | None:
        """The metric that a task is judged by; None: its main metric."""
        own = self.tasks[task].metric if task in self.tasks else None
        return own or self.metric

    def calibration_of(self, task: str) -> float:
        """The growth of a task's calibration error that is allowed."""
        own = self.tasks[task].calibration if task in self.tasks else None
        return self.calibration if own is None else own


def load_gate(path: Path | None, overrides: Sequence[str] = ()) -> Gate:
    """Read a gate's file.

    Args:
        path: YAML; None is a gate of defaults.
        overrides: `key=value` assignments, applied in their order before validation.

    Raises:
        UserError: lists all problems.
    """
    text, where = ("{}", "gate") if path is None else (read_text(path), str(path))
    return section_from_yaml(Gate, text, where=where, overrides=overrides, check=lambda _: ())


def check_tasks(gate: Gate, tasks: Iterable[str]) -> None:
    """Tasks that the gate names are those of the champion.

    Raises:
        UserError: one problem for each that is not.
    """
    known = list(tasks)
    unknown = [name for name in gate.tasks if name not in known]
    if unknown:
        what = "the champion has no such task"
        fixes = ((name, did_you_mean(name, known)) for name in unknown)
        raise UserError(*(Problem(what, f"gate: tasks.{name}", fix=fix) for name, fix in fixes))
