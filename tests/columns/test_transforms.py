from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from recsys_mtl.columns.transforms import (
    normal_score,
    piecewise_linear,
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


def test_piecewise_linear_equals_equation_1():
    edges = np.array([0.0, 1.0, 3.0, 10.0])
    x = np.array([-1.0, 0.0, 0.5, 2.0, 10.0, 17.0])
    expected = [[-1, 0, 0], [0, 0, 0], [0.5, 0, 0], [1, 0.5, 0], [1, 1, 1], [1, 1, 2]]
    np.testing.assert_allclose(piecewise_linear(x, edges), expected)


def test_piecewise_linear_clips_the_outer_bins_only():
    encoded = piecewise_linear(np.array([-1e9, 1e9]), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(encoded, [[-10, 0], [1, 10]])
    np.testing.assert_array_equal(
        piecewise_linear(np.array([-1e9, 1e9]), np.array([0.0, 1.0])), [[-10], [10]]
    )
