"""Arms by metrics of ranking within lists, where `evaluation.groups` asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_mtl.ablation.collapse import fill_collapses
from recsys_mtl.metrics.differences import Difference
from recsys_mtl.metrics.undefined import as_float
from recsys_mtl.reports.cells import number, with_interval
from recsys_mtl.reports.page import Table
from recsys_mtl.study.unit import UnitResult
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Scores

_NAN = float("nan")


@dataclass(frozen=True)
class Within:
    """A metric of an arm.

    Attributes:
        mean: over the seeds that have a value; a collapse counts as the worst one.
        difference: to the reference, over paired seeds, in points; None for the reference.
    """

    mean: float
    difference: Difference | None


def within_lists(scores: Scores, kinds: Mapping[str, str]) -> dict[str, float]:
    """`TASK METRIC` -> value of a unit; empty where rows are in no lists."""
    if scores.groups is None:
        return {}
    return {
        f"{task} {name}": as_float(value)
        for task, kind in kinds.items()
        for name, value in scores.metrics[task].items()
        if any(metric.is_of(name) for metric in kind_of(kind).section.of_lists)
    }


def compared(
    by_arm: Mapping[str, Mapping[int, UnitResult]],
    reference: str,
    difference: Callable[[Sequence[float]], Difference],
) -> dict[str, dict[str, Within]]:
    """`TASK METRIC` -> arm -> its numbers.

    Args:
        by_arm: units by seed of every arm.
        reference: name of the arm that the others are compared with.
        difference: of paired points.
    """
    values = {arm: {s: _numbers(u) for s, u in units.items()} for arm, units in by_arm.items()}
    first = values[reference]
    names = dict.fromkeys(name for of_seed in first.values() for name in of_seed)
    kinds = next(iter(by_arm[reference].values()))["kinds"]
    fill_collapses(values, {name: _constant(name, kinds) for name in names})
    lists: dict[str, dict[str, Within]] = {name: {} for name in names}
    for name, of_arms in lists.items():
        for arm, own in values.items():
            known = [v for of_seed in own.values() if np.isfinite(v := of_seed.get(name, _NAN))]
            mean = float(np.mean(known)) if known else _NAN
            pairs = [
                100 * (own[seed].get(name, _NAN) - first[seed].get(name, _NAN))
                for seed in sorted(own.keys() & first.keys())
            ]
            pairs = [points for points in pairs if np.isfinite(points)]
            of_arms[arm] = Within(mean, None if arm == reference else difference(pairs))
    return lists


def list_table(lists: Mapping[str, Mapping[str, Within]]) -> Table:
    """Means, and differences to the reference in points."""
    arms = list(next(iter(lists.values())))
    rows = []
    for name, of_arms in lists.items():
        cells = []
        for one in of_arms.values():
            gain = one.difference
            apart = "" if gain is None else with_interval(gain.mean, gain.low, gain.high, 2)
            cells.append(f"{number(one.mean)} {apart}".strip())
        rows.append([name, *cells])
    note = "Means over seeds; differences to the first arm in points, with their intervals."
    return Table("Within lists", ["task and metric", *arms], rows, note=note, printed=False)


def _constant(name: str, kinds: Mapping[str, str]) -> float | None:
    task, _, metric = name.rpartition(" ")
    specs = kind_of(kinds[task]).section.of_lists
    return next((spec.constant for spec in specs if spec.is_of(metric)), None)


def _numbers(unit: UnitResult) -> dict[str, float]:
    given = unit.get("lists", {})
    return {name: _NAN if value is None else float(value) for name, value in given.items()}
