"""The summary of one method's runs.

Shapes: T tasks, E epochs, K blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys_mtl.metrics.differences import Difference
from recsys_mtl.metrics.weighing import Floats
from recsys_mtl.study.unit import UnitResult
from recsys_mtl.vision.reproduction.numbers import (
    Spread,
    final_loss,
    floats,
    mean_auroc,
    saved,
    spread,
    steps_to,
    train_curve,
)
from recsys_mtl.vision.reproduction.plan import Reproduction


@dataclass(frozen=True)
class MethodSummary:
    """A method over its runs.

    Attributes:
        loss: weighted sum of the tasks' test losses after the last epoch.
        losses: (T,) test losses without weights.
        accuracy: (T,) percent.
        auroc: (T,) of yes/no tasks.
        mean_auroc: mean over tasks.
        curve: (E,) mean train loss.
        steps: to the threshold, of the runs that reached it.
        saved: loss saved against the reference; None for itself.
        saved_against: likewise against the second one.
        step_ms: median over steps, of the fastest run.
        peak_memory_mb: of the process, median over runs.
        skipped: steps without an update, over all runs.
        blocks: names of the K blocks.
        conflicts: (E, K) mean share of task pairs in conflict; None without a combiner.
        shown: of the first run, see unit.py.
    """

    loss: Spread
    losses: list[Spread]
    accuracy: list[Spread]
    auroc: list[Spread]
    mean_auroc: Spread
    curve: list[float]
    steps: list[int]
    saved: Difference | None
    saved_against: Difference | None
    step_ms: float
    peak_memory_mb: float
    skipped: int
    blocks: list[str]
    conflicts: Floats | None
    shown: dict[str, Any]


def method_summary(
    plan: Reproduction, name: str, results: Mapping[str, Sequence[UnitResult]]
) -> MethodSummary:
    """Of one method.

    Args:
        plan: the study.
        name: its own.
        results: of all methods.
    """
    units = results[name]
    last = [unit["epochs"][-1] for unit in units]
    against = results[plan.against] if plan.against not in (None, name) else None
    threshold = plan.threshold
    steps = [steps_to(unit, threshold.loss) for unit in units] if threshold else []
    return MethodSummary(
        loss=spread([final_loss(unit) for unit in units]),
        losses=_by_task([epoch["losses"] for epoch in last]),
        accuracy=_by_task([[100 * a for a in floats(epoch["accuracy"])] for epoch in last]),
        auroc=_by_task([epoch["auroc"] for epoch in last]),
        mean_auroc=spread([mean_auroc(unit) for unit in units]),
        curve=np.mean([train_curve(unit) for unit in units], axis=0).tolist(),
        steps=[count for count in steps if count is not None],
        saved=None if name == plan.reference else saved(units, results[plan.reference]),
        saved_against=None if against is None else saved(units, against),
        step_ms=min(unit["step_ms"] for unit in units),
        peak_memory_mb=float(np.median([unit["peak_memory_mb"] for unit in units])),
        skipped=sum(epoch["skipped"] for epoch in last),
        blocks=units[0]["blocks"],
        conflicts=_conflicts(units),
        shown=units[0]["shown"],
    )


def _by_task(rows: Sequence[Sequence[float | None]]) -> list[Spread]:
    """(T,) of one row a run."""
    return [spread(column) for column in zip(*map(floats, rows), strict=True)]


def _conflicts(units: Sequence[UnitResult]) -> Floats | None:
    """(E, K) mean over runs; an epoch whose every step was skipped is undefined."""
    epochs = [[epoch["conflicts"] for epoch in unit["epochs"]] for unit in units]
    if any(one is None for run in epochs for one in run):
        return None
    shares = np.array([[one["conflict_ratio"] for one in run] for run in epochs], np.float64)
    return np.asarray(np.ma.masked_invalid(shares).mean(axis=0).filled(np.nan))
