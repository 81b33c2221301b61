from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys_mtl.vision.reproduction.numbers import (
    final_loss,
    mean_auroc,
    saved,
    spread,
    steps_to,
    train_curve,
)

MakeUnit = Callable[..., dict[str, Any]]


def test_a_loss_is_weighted_and_of_the_last_epoch(unit: MakeUnit) -> None:
    content = unit("k", 0, 0, [1.0, 2.0, 3.0])
    assert final_loss(content) == pytest.approx(1.0 + 0.8 * 2 + 0.5 * 3)
    assert train_curve(content) == pytest.approx([2 * final_loss(content)] * 2)


def test_a_loss_that_is_undefined_stays_so(unit: MakeUnit) -> None:
    content = unit("k", 0, 0, [1.0, 2.0, 3.0])
    content["epochs"][-1]["losses"] = [1.0, None, 3.0]
    assert np.isnan(final_loss(content))
    assert np.isnan(mean_auroc(content))
    content["epochs"][-1]["auroc"] = [0.5, 0.75, 1.0]
    assert mean_auroc(content) == 0.75


@pytest.mark.parametrize(("below", "steps"), [(10.4, 2), (10.3, 4), (0.35, 4), (0.3, None)])
def test_steps_are_those_of_the_first_loss_below(
    unit: MakeUnit, below: float, steps: int | None
) -> None:
    content = unit("k", 0, 0, [0.2, 0.1, 0.04])  # measured 9 + 0.8 + 0.5 and 0.3
    content["looks"].append([6, [0.0, 0.0, 0.0]] if steps is not None else [6, [9.0, 9.0, 9.0]])
    assert steps_to(content, below) == steps


def test_a_spread_is_of_finite_values() -> None:
    numbers = spread([1.0, 3.0, float("nan")])
    assert (numbers.mean, numbers.count) == (2.0, 2)
    assert numbers.sd == pytest.approx(2**0.5)
    assert np.isnan(spread([4.0]).sd)
    assert np.isnan(spread([]).mean)


def test_saved_loss_is_of_pairs(unit: MakeUnit) -> None:
    runs = [(0, 0), (0, 1), (1, 0)]
    reference = [unit("r", *run, [5.0 + i, 0.0, 0.0]) for i, run in enumerate(runs)]
    units = [unit("m", *run, [4.0 + 1.5 * i, 0.0, 0.0]) for i, run in enumerate(runs)]
    lonely = unit("m", 7, 0, [99.0, 0.0, 0.0])
    difference = saved([lonely, *reversed(units)], reference)
    assert difference.pairs == 3
    assert difference.mean == pytest.approx(0.5)
    assert (difference.wins, difference.losses) == (2, 0)
