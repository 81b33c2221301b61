"""What the runs of a reproduction say together.

Shapes: T tasks, E epochs, K blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipelines.ablation.differences import Difference, Floats, holm
from pipelines.reproduction.numbers import (
    Spread,
    floats,
    mean_auroc,
    saved,
    spread,
    steps_to,
    final_loss,
    train_curve,
)
from pipelines.reproduction.plan import Reproduction
from pipelines.reproduction.recipe import method_recipe
from pipelines.reproduction.studies import Cell, Point, attention_cells, sweep_points
from pipelines.reproduction.unit import Unit


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
        step_ms: median over runs.
        peak_memory_mb: of the process, likewise.
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


@dataclass(frozen=True)
class Summary:
    """Everything that the report shows.

    Attributes:
        tasks: names.
        source: what the images are.
        images: (train, test, C, H, W).
        device: that it was computed on.
        methods: by name.
        attention: cells of the table of attentions; empty without.
        sweep: points of the sweep; empty without.
    """

    tasks: list[str]
    source: str
    images: list[int]
    device: str
    methods: dict[str, MethodSummary]
    attention: list[Cell]
    sweep: list[Point]

    def to_json(self) -> dict[str, Any]:
        """For result.json."""
        found = asdict(self)
        for method in found["methods"].values():
            matrix = method["conflicts"]
            method["conflicts"] = None if matrix is None else matrix.tolist()
        return found

    def numbers(self) -> dict[str, float | None]:
        """For the tracker."""
        values: dict[str, float | None] = {}
        for name, method in self.methods.items():
            values |= {f"{name}/loss": method.loss.mean, f"{name}/step_ms": method.step_ms}
            if method.saved is not None:
                values |= {f"{name}/saved": method.saved.mean, f"{name}/saved_p": method.saved.p}
            for task, accuracy in zip(self.tasks, method.accuracy, strict=True):
                values[f"{name}/accuracy/{task}"] = accuracy.mean
        return values

    def ranked(self) -> list[str]:
        """Methods, the lowest loss first."""
        return sorted(self.methods, key=lambda name: self.methods[name].loss.mean)


def summarize(plan: Reproduction, units: Sequence[Unit]) -> Summary:
    """Bring the results of all runs together.

    Args:
        plan: which of them belong to what.
        units: results, in any order.
    """
    by_key: dict[str, list[Unit]] = {}
    for unit in units:
        by_key.setdefault(unit["key"], []).append(unit)
    found = {name: by_key[method_recipe(plan, name).key] for name in plan.methods}
    first = found[plan.reference][0]
    methods = {name: _method(plan, name, found) for name in found}
    return Summary(
        tasks=first["tasks"],
        source=first["source"],
        images=first["images"],
        device=", ".join(sorted({unit["device"] for unit in units})),
        methods=_corrected(methods),
        attention=attention_cells(plan, by_key),
        sweep=sweep_points(plan, by_key),
    )


def _method(plan: Reproduction, name: str, found: dict[str, list[Unit]]) -> MethodSummary:
    units = found[name]
    last = [unit["epochs"][-1] for unit in units]
    second = plan.against
    against = found[second] if second not in (None, name) else None
    steps = (
        [] if plan.threshold is None else [steps_to(unit, plan.threshold.loss) for unit in units]
    )
    return MethodSummary(
        loss=spread([final_loss(unit) for unit in units]),
        losses=_by_task([epoch["losses"] for epoch in last]),
        accuracy=_by_task([[100 * a for a in floats(epoch["accuracy"])] for epoch in last]),
        auroc=_by_task([epoch["auroc"] for epoch in last]),
        mean_auroc=spread([mean_auroc(unit) for unit in units]),
        curve=np.mean([train_curve(unit) for unit in units], axis=0).tolist(),
        steps=[count for count in steps if count is not None],
        saved=None if name == plan.reference else saved(units, found[plan.reference]),
        saved_against=None if against is None else saved(units, against),
        step_ms=float(np.median([unit["step_ms"] for unit in units])),
        peak_memory_mb=float(np.median([unit["peak_memory_mb"] for unit in units])),
        skipped=sum(epoch["skipped"] for epoch in last),
        blocks=units[0]["blocks"],
        conflicts=_conflicts(units),
        shown=units[0]["shown"],
    )


def _by_task(rows: Sequence[Sequence[float | None]]) -> list[Spread]:
    """(T,) of one row a run."""
    return [spread(column) for column in zip(*map(floats, rows), strict=True)]


def _conflicts(units: Sequence[Unit]) -> Floats | None:
    """(E, K) mean over runs; an epoch whose every step was skipped says nothing."""
    epochs = [[epoch["conflicts"] for epoch in unit["epochs"]] for unit in units]
    if any(one is None for run in epochs for one in run):
        return None
    shares = [[one["conflict_ratio"] for one in run] for run in epochs]
    return np.asarray(np.mean(np.array(shares, np.float64), axis=0))


def _corrected(methods: dict[str, MethodSummary]) -> dict[str, MethodSummary]:
    """Holm's correction over methods, for either comparison."""
    for key in ("saved", "saved_against"):
        compared = {n: d for n, m in methods.items() if (d := getattr(m, key)) is not None}
        adjusted = holm([one.p for one in compared.values()])
        for (name, one), p in zip(compared.items(), adjusted, strict=True):
            methods[name] = replace(methods[name], **{key: replace(one, adjusted=p)})
    return methods
