"""What follows from CAGT's formulas, for and against its paper (D.2 to D.4: `test_cagt.py`).

Shapes: T tasks, d entries of the one block.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from recsys_mtl.gradients import COMBINERS, Partition, make_combiner
from recsys_mtl.gradients.cagt import CAGT
from recsys_mtl.gradients.diagnostics import cosines_of

lengths = st.floats(0.1, 10)
conflicting = st.floats(math.pi / 2 + 0.01, math.pi - 0.01)
rates = st.floats(0.01, 0.99)


def pair(a: float, b: float, angle: float) -> Tensor:
    """(2, 2) two tasks' gradients of lengths a and b."""
    turned = [b * math.cos(angle), b * math.sin(angle)]
    return torch.tensor([[a, 0.0], turned], dtype=torch.float64)


def moved(g: Tensor, rate: float, **options: Any) -> Tensor:
    """(T, d) the tasks' new gradients."""
    combiner = CAGT(
        len(g), Partition.single([g.shape[1]]), coefficient=rate, adaptive=False, **options
    )
    gradient: Tensor = combiner.mixture((g @ g.T).unsqueeze(0), step=0)[0] @ g
    return gradient


def advantage(g: Tensor, step: Tensor) -> float:
    """(g1 + g2) · step − ‖g1 + g2‖²: Theorem D.5 needs more than 0."""
    return float(g.sum(0) @ (step - g.sum(0)))


# Two tasks.


@given(lengths, lengths, conflicting, rates)
def test_theorem_d5_has_a_premise_that_never_holds(
    a: float, b: float, angle: float, rate: float
) -> None:
    g = pair(a, b, angle)
    expected = -rate * (1 - math.cos(angle)) * (a - b) ** 2
    actual = advantage(g, moved(g, rate).sum(0))
    # ε = 1e-12 moves lengths from 0.1 on by 1e-11 of them.
    assert math.isclose(actual, expected, rel_tol=1e-9, abs_tol=1e-10 * (a + b) ** 2)
    assert expected <= 0


@given(lengths, lengths, conflicting, rates)
def test_the_plain_sum_descends_faster(a: float, b: float, angle: float, rate: float) -> None:
    assume(abs(a - b) > 0.01 * (a + b))
    g = pair(a, b, angle)
    plain, ours = g.sum(0), moved(g, rate).sum(0)
    # Losses ½ ‖θ − c_i‖² at θ = 0 have the gradients −c_i; their sum is smooth with L = 2.
    after = [0.5 * (g - 0.5 * step).square().sum() for step in (plain, ours)]
    assert after[0] < after[1]


@given(lengths, lengths, conflicting, rates)
def test_the_step_is_no_longer_than_the_sum(a: float, b: float, angle: float, rate: float) -> None:
    g = pair(a, b, angle)
    swapped = torch.stack([g[0] * b / a, g[1] * a / b]).sum(0)  # λ = 1: the lengths are swapped
    torch.testing.assert_close(swapped.norm(), g.sum(0).norm(), rtol=1e-9, atol=1e-9)
    assert moved(g, rate).sum(0).norm() <= g.sum(0).norm() + 1e-10 * (a + b)


@given(lengths, conflicting, rates)
def test_equal_lengths_give_the_plain_sum(a: float, angle: float, rate: float) -> None:
    g = pair(a, a, angle)
    torch.testing.assert_close(moved(g, rate).sum(0), g.sum(0), rtol=1e-9, atol=1e-10 * a)


@given(lengths, lengths, conflicting)
def test_a_half_is_the_bisector(a: float, b: float, angle: float) -> None:
    g = pair(a, b, angle)
    expected = (a + b) / 2 * (g[0] / a + g[1] / b)
    torch.testing.assert_close(moved(g, 0.5).sum(0), expected, rtol=1e-9, atol=1e-10 * (a + b))


@given(lengths, lengths, conflicting, rates)
def test_preserve_norm_is_a_longer_step(a: float, b: float, angle: float, rate: float) -> None:
    g = pair(a, b, angle)
    shorter = math.sqrt(1 - 2 * rate * (1 - rate) * (1 - math.cos(angle)))
    kept = moved(g, rate, preserve_norm=True).sum(0)
    torch.testing.assert_close(
        shorter * kept, moved(g, rate).sum(0), rtol=1e-9, atol=1e-9 * (a + b)
    )


def test_preserve_norm_meets_theorem_d5_by_length_alone() -> None:
    g = pair(2.0, 2.0, 2.5)
    kept = moved(g, 0.3, preserve_norm=True).sum(0)
    assert advantage(g, kept) > 0.1
    torch.testing.assert_close(kept / kept.norm(), g.sum(0) / g.sum(0).norm())


# More tasks.


@given(st.integers(3, 16), st.floats(0.05, 0.95), rates, lengths)
def test_equal_conflicts_give_the_plain_sum_made_longer(
    tasks: int, part: float, rate: float, length: float
) -> None:
    opposed = part / (tasks - 1)  # ρ: cosines are −ρ, at most 1 / (T − 1)
    cosines = (1 + opposed) * torch.eye(tasks, dtype=torch.float64) - opposed
    g = length * torch.linalg.cholesky(cosines)
    grown = math.sqrt((tasks - 1) / (1 - (tasks - 2) * opposed))
    expected = (1 + rate * (grown - 1)) * g.sum(0)
    torch.testing.assert_close(moved(g, rate).sum(0), expected, rtol=1e-8, atol=1e-8)
    assert grown > 1


def test_theorem_d2_is_false_of_three_tasks_below_a_half() -> None:
    g = torch.tensor([[-1.0, 1.0], [0.0, 1.0], [1.0, -3.0]], dtype=torch.float64)
    assert g.sum(0) @ moved(g, 0.2).sum(0) < -0.1


def test_theorem_d3_is_false_of_three_tasks() -> None:
    g = torch.tensor([[-1.0, 0.0], [1.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    before, after = (cosines_of((m @ m.T).unsqueeze(0))[0][0] for m in (g, moved(g, 0.2)))
    assert after[0, 1] < before[0, 1] - 0.1
    assert before[0, 1] < 0


# Sums and means.


@pytest.mark.parametrize("name", COMBINERS)
def test_which_methods_are_means(name: str) -> None:
    tasks, gradient = 4, torch.tensor([3.0, 4.0])
    combiner = make_combiner(name, tasks, Partition.single([2]))
    rows = gradient.expand(tasks, 2)
    combined = combiner.combine([rows], torch.ones(tasks, dtype=torch.bool), step=0).gradients[0]
    length = {"nash_mtl": 1.0, "fairgrad": 20 * (4 * 25) ** (-2 / 3), "cagrad": 1.4 * 5}
    sums = dict.fromkeys(("sum", "cagt", "config", "pcgrad", "gradvac", "graddrop"), 20.0)
    expected = {**length, **sums}.get(name, 5.0)  # all others are means
    torch.testing.assert_close(combined, gradient / 5 * expected, rtol=1e-3, atol=1e-3)
