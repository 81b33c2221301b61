"""The two studies of one method's options: its attention, and its temperature and coefficient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys_mtl.metrics.differences import Difference
from recsys_mtl.study.unit import UnitResult
from recsys_mtl.vision.reproduction.numbers import Spread, final_loss, saved, spread
from recsys_mtl.vision.reproduction.plan import AttentionName, Reproduction
from recsys_mtl.vision.reproduction.recipe import attention_recipe, points, sweep_recipe


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
