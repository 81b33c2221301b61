from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_synth.grid import COARSE, FINE, Grid

GRIDS = st.sampled_from([FINE, COARSE, Grid(per_unit=1, reach=1)])
SCORES = arrays(np.float32, st.integers(0, 50), elements=st.floats(-30, 30, width=32))


@given(GRIDS, SCORES)
def test_nearest_is_the_nearest_point(grid: Grid, scores: np.ndarray) -> None:
    off = np.abs(grid.points[grid.nearest(scores)] - np.clip(scores, -grid.reach, grid.reach))
    assert (off <= 0.5 / grid.per_unit + 1e-9).all()


@given(GRIDS, SCORES)
def test_count(grid: Grid, scores: np.ndarray) -> None:
    actual = grid.count(scores)
    assert len(actual) == len(grid.points) == 2 * grid.per_unit * grid.reach + 1
    assert actual.sum() == len(scores)
    assert (actual[grid.nearest(scores)] > 0).all()


def test_points_are_nearest_to_themselves() -> None:
    np.testing.assert_array_equal(FINE.nearest(FINE.points), np.arange(len(FINE.points)))
    assert Grid(per_unit=2, reach=1).points.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
