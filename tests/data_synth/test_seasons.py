from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_synth.relations import square_root
from data_synth.seasons import movements


@given(st.integers(0, 2**32 - 1), st.integers(1, 16), st.integers(18, 400))
def test_movements_have_the_planned_moments_exactly(seed: int, tasks: int, days: int) -> None:
    loose = np.random.default_rng(seed).standard_normal((tasks, tasks + 1))
    spread = loose @ loose.T
    scale = np.sqrt(np.diag(spread))
    relation = spread / np.outer(scale, scale)
    moved = movements(relation, days)
    assert moved.shape == (days, tasks)
    np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(moved.T @ moved / days, relation, atol=1e-9)


def test_the_greatest_movement_is_a_drift_and_the_next_a_week() -> None:
    days = 182
    relation = np.array([[1.0, 0.8], [0.8, 1.0]])
    moved = movements(relation, days)
    common, apart = moved.sum(axis=1), moved[:, 0] - moved[:, 1]
    steps = np.diff(common)
    assert (steps > 0).all() or (steps < 0).all()
    np.testing.assert_allclose(apart[14:], apart[:-14], atol=1e-9)  # a week, up and down
    week = np.abs(np.fft.rfft(apart - apart.mean()))
    assert week.argmax() == days // 7  # whole weeks in the period


def test_square_roots_agree_on_the_directions() -> None:
    """The waves' weights are a square root of the relation too."""
    relation = np.array([[1.0, -0.5], [-0.5, 1.0]])
    moved = movements(relation, 60)
    np.testing.assert_allclose(square_root(moved.T @ moved / 60), square_root(relation), atol=1e-9)
