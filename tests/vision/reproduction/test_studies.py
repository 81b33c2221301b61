from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.summary import attention_cells, sweep_points

Make = Callable[..., Reproduction]
Results = Callable[[Reproduction], list[dict[str, Any]]]
SWEEP = {
    "temperatures": [0.3, 0.6], "coefficients": [0.1, 0.2, 0.5], "epochs": 1, "seeds": {"count": 2}
}  # fmt: skip


def by_key(units: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for unit in units:
        groups.setdefault(unit["key"], []).append(unit)
    return groups


def test_a_cell_has_both_losses_and_their_pairs(make: Make, results: Results) -> None:
    plan = make(attention={"attentions": ["euclidean", "cosine"]})
    euclidean, cosine = attention_cells(plan, by_key(results(plan)))
    assert (euclidean.attention, cosine.attention) == ("euclidean", "cosine")
    assert cosine.adaptive.mean == pytest.approx(3.5 * 1.04 + 0.25)
    assert cosine.fixed.mean == pytest.approx(3.0 * 1.04 + 0.25)
    assert cosine.saved.mean == pytest.approx(-0.5 * 1.04)
    assert cosine.saved.pairs == 4


def test_points_are_those_of_the_grid(make: Make, results: Results) -> None:
    plan = make(sweep=SWEEP)
    points = sweep_points(plan, by_key(results(plan)))
    assert [(point.temperature, point.coefficient) for point in points] == [
        *((0.3, 0.1), (0.3, 0.2), (0.3, 0.5), (0.6, 0.1), (0.6, 0.2), (0.6, 0.5))
    ]
    assert [point.loss.mean for point in points] == pytest.approx([3.05 + i for i in range(6)])


def test_without_a_study_there_is_nothing(make: Make) -> None:
    assert attention_cells(make(), {}) == []
    assert sweep_points(make(), {}) == []
