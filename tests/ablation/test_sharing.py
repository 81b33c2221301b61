"""What is concluded from a shared network against a network a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys_mtl.ablation.sharing import sharing
from recsys_mtl.ablation.summary import Rule

FEW, MANY = "where labels are few", "where they are not"


@pytest.mark.parametrize(
    ("few", "many", "words"),
    [
        (3.0, 0.0, {FEW: "Sharing pays", MANY: "Sharing makes no difference that matters"}),
        (-3.0, 2.0, {FEW: "Sharing costs", MANY: "Sharing pays"}),
    ],
)
def test_each_group_has_its_verdict(
    unit: Callable[..., dict[str, Any]],
    rng: np.random.Generator,
    few: float,
    many: float,
    words: dict[str, str],
) -> None:
    units = []
    for seed in range(6):
        alone = dict(zip("xyz", rng.normal(0.7, 0.05, 3), strict=True))
        gains = dict(zip("xyz", (few, many, many), strict=True))
        shared = {t: alone[t] + (gains[t] + rng.normal(0, 0.1)) / 100 for t in alone}
        units += [
            unit("single_task", seed, alone, train_seconds=10.0),
            unit("shared", seed, shared, train_seconds=4.0),
        ]
    for one in units:
        one["labelled"] = {"x": 50, "y": 900, "z": 1000}
    result = sharing(units, Rule(0.05, 0.5))
    assert result.words == words
    assert result.differences[FEW].mean == pytest.approx(few, abs=0.3)
    assert result.sentences[0].startswith(f"{words[FEW]} {FEW}: one network")
    assert "in the mean of y, z" in result.sentences[1]
    assert "An epoch of the one network takes 40%" in result.sentences[2]


def test_a_collapse_is_the_worst_score_and_a_lone_seed_is_left_out(
    unit: Callable[..., dict[str, Any]],
) -> None:
    units = [
        *(unit("single_task", seed, {"x": 0.7, "y": 0.8}) for seed in range(4)),
        *(unit("shared", seed, {"x": 0.7 if seed else None, "y": 0.8}) for seed in range(3)),
    ]
    result = sharing(units, Rule(0.05, 0.5))
    (one,) = result.differences.values()
    assert one.pairs == 3
    assert one.mean == pytest.approx(-100 * (0.7 - 0.5) / 2 / 3)
