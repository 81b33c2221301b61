from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from recsys_mtl.columns.transforms import (
    filled_edges,
    normal_score,
    piecewise_coordinate,
    signed_expm1,
    signed_log1p,
    standardize,
)


def test_signed_log1p_and_its_inverse():
    x = np.array([-1e6, -1.0, 0.0, 1e-9, 3.0, 1e100])
    np.testing.assert_allclose(signed_log1p(x)[[1, 2, 4]], [-np.log(2), 0.0, np.log(4)])
    np.testing.assert_allclose(signed_expm1(signed_log1p(x)), x, rtol=1e-12)


def test_signed_expm1_never_overflows():
    assert np.isfinite(signed_expm1(np.array([1e4, -1e4]))).all()


def test_standardize_clips_outliers():
    np.testing.assert_allclose(standardize(np.array([1.0, 3.0, 1e9]), 1.0, 2.0), [0.0, 1.0, 10.0])


def test_normal_score_of_evenly_spread_values():
    quantiles = np.linspace(0.0, 100.0, 1001)
    x = np.array([2.5, 50.0, 97.72])
    np.testing.assert_allclose(normal_score(x, quantiles), norm.ppf(x / 100), atol=1e-12)
    np.testing.assert_array_equal(normal_score(np.array([-9.0, 900.0]), quantiles), [-5.2, 5.2])


def test_normal_score_of_ties_is_the_middle_of_their_range():
    quantiles = np.array([0.0, 0.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(
        normal_score(np.array([0.0, 1.0]), quantiles), norm.ppf([0.25, 0.75])
    )
    assert normal_score(np.array([1e-9]), quantiles)[0] == pytest.approx(0.0, abs=1e-6)


def test_a_position_on_the_axis_of_bins():
    edges = np.array([0.0, 1.0, 3.0, 10.0])
    x = np.array([-1e9, -1.0, 0.0, 0.5, 1.0, 2.0, 10.0, 17.0, 1e9])
    expected = [-10, -1, 0, 0.5, 1, 1.5, 3, 4, 12]
    np.testing.assert_allclose(piecewise_coordinate(x, edges), expected)
    narrow = np.array([0.0, 5e-324])
    np.testing.assert_array_equal(piecewise_coordinate(np.array([-1.0, 1.0]), narrow), [-10, 10])


@pytest.mark.parametrize("bins", [2, 3, 16, 48])
@pytest.mark.parametrize("zeros", [0, 400, 916])
def test_edges_are_filled(bins, zeros):
    rng = np.random.default_rng(zeros)
    values = np.concatenate([np.zeros(zeros), rng.lognormal(size=1000 - zeros).round(3)])
    edges = filled_edges(values, np.ones(1000), bins)
    assert len(edges) == bins + 1
    assert (np.diff(edges) > 0).all()
    assert set(edges) <= set(values)
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    rest = values[~np.isin(values, edges[:2])]  # the mass point and the value next to it
    if bins >= 16:
        shares = np.diff(np.searchsorted(np.sort(rest), edges[1:], "right")) / len(rest)
        assert shares.max() < 3 / bins


def test_frequent_values_and_the_next_ones_are_edges():
    values = np.repeat([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0, 9.0], [1, 1, 40, 2, 3, 40, 1])
    assert {0.0, 0.5, 7.0, 9.0} <= set(filled_edges(values, np.ones(88), 5))
    np.testing.assert_array_equal(filled_edges(values, np.ones(88), 6), np.unique(values))


def test_a_weight_counts_as_so_many_rows():
    values = np.arange(40.0)
    weights = np.arange(1.0, 41.0)
    repeated = np.repeat(values, np.arange(1, 41))
    np.testing.assert_array_equal(
        filled_edges(values, weights, 6), filled_edges(repeated, np.ones(len(repeated)), 6)
    )


def test_many_frequent_values_leave_edges_for_the_ends():
    values = np.repeat(np.arange(30.0), [30, 1] * 15)
    edges = filled_edges(values, np.ones(len(values)), 4)
    assert len(edges) == 5
    assert (edges[0], edges[-1]) == (0.0, 29.0)
