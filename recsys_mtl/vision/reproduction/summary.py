"""The summary of all runs of a reproduction, with the studies of one method's options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from recsys_mtl.metrics.differences import Difference, corrected
from recsys_mtl.study.unit import UnitResult
from recsys_mtl.vision.images import LeftOut
from recsys_mtl.vision.reproduction.methods import MethodSummary, method_summary
from recsys_mtl.vision.reproduction.numbers import Spread, final_loss, saved, spread
from recsys_mtl.vision.reproduction.plan import AttentionName, Reproduction
from recsys_mtl.vision.reproduction.recipe import (
    attention_recipe,
    method_recipe,
    points,
    sweep_recipe,
)


@dataclass(frozen=True)
class Cell:
    """An attention.

    Attributes:
        attention: its name.
        adaptive: loss with an adaptive coefficient.
        fixed: loss with a fixed one.
        saved: loss that adapting saves.
    """

    attention: AttentionName
    adaptive: Spread
    fixed: Spread
    saved: Difference


@dataclass(frozen=True)
class Point:
    """A point of the sweep, and its loss."""

    temperature: float
    coefficient: float
    loss: Spread


@dataclass(frozen=True)
class ReproductionSummary:
    """Everything that the report shows.

    Attributes:
        tasks: names.
        source: description of the images.
        images: (train, test, C, H, W).
        device: that it was computed on.
        methods: by name.
        attention: cells of the table of attentions; empty without.
        sweep: points of the sweep; empty without.
        left_out: listed images that are not used, by split; empty for complete data.
    """

    tasks: list[str]
    source: str
    images: list[int]
    device: str
    methods: dict[str, MethodSummary]
    attention: list[Cell]
    sweep: list[Point]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)

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
        """Methods, the lowest loss first; those without a finite one last."""

        def key(name: str) -> tuple[bool, float]:
            loss = self.methods[name].loss.mean
            return math.isnan(loss), loss

        return sorted(self.methods, key=key)


def summarize(plan: Reproduction, units: Sequence[UnitResult]) -> ReproductionSummary:
    """Summarise the results of all runs.

    Args:
        plan: which of them belong to what.
        units: results, in any order.
    """
    by_key: dict[str, list[UnitResult]] = {}
    for unit in units:
        by_key.setdefault(unit["key"], []).append(unit)
    results = {name: by_key[method_recipe(plan, name).key] for name in plan.methods}
    first = results[plan.reference][0]
    methods = {name: method_summary(plan, name, results) for name in results}
    return ReproductionSummary(
        tasks=first["tasks"],
        source=first["source"],
        images=first["images"],
        device=", ".join(sorted({unit["device"] for unit in units})),
        methods=_corrected(methods),
        attention=attention_cells(plan, by_key),
        sweep=sweep_points(plan, by_key),
    )


def _corrected(methods: dict[str, MethodSummary]) -> dict[str, MethodSummary]:
    """Holm's correction over methods, for either comparison."""
    for key in ("saved", "saved_against"):
        compared = {n: d for n, m in methods.items() if (d := getattr(m, key)) is not None}
        for name, one in corrected(compared).items():
            change: dict[str, Any] = {key: one}
            methods[name] = replace(methods[name], **change)
    return methods


def attention_cells(plan: Reproduction, by_key: Mapping[str, Sequence[UnitResult]]) -> list[Cell]:
    """One for each attention; none without the study."""
    if plan.attention is None:
        return []
    cells = []
    for attention in plan.attention.attentions:
        adaptive, fixed = (
            by_key[attention_recipe(plan, attention, adaptive=on).key] for on in (True, False)
        )
        cells.append(Cell(attention, _loss(adaptive), _loss(fixed), saved(adaptive, fixed)))
    return cells


def sweep_points(plan: Reproduction, by_key: Mapping[str, Sequence[UnitResult]]) -> list[Point]:
    """One for each temperature and coefficient; none without the study."""
    if plan.sweep is None:
        return []
    return [
        Point(*point, _loss(by_key[sweep_recipe(plan, *point).key])) for point in points(plan.sweep)
    ]


def _loss(units: Sequence[UnitResult]) -> Spread:
    return spread([final_loss(unit) for unit in units])
