from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_synth.response import Response

SHARES = st.floats(0.0, 1.0)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(201)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def exact(response: Response, t: np.ndarray) -> np.ndarray:
    """The hinge in float64, standardised by its known moments."""
    a = 1 - response.one_sided
    mean = (1 - a) / np.sqrt(2 * np.pi)
    return (np.maximum(t, a * t) - mean) / np.sqrt((1 + a**2) / 2 - mean**2)


@pytest.mark.parametrize("one_sided", [0.0, 0.3, 0.85, 1.0])
def test_it_is_the_standardised_leaky_hinge(one_sided: float, rng: np.random.Generator) -> None:
    response, t = Response(one_sided), rng.standard_normal(1000)
    actual = response(t.astype(np.float32))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, exact(response, t), atol=2e-6)  # float32 of values to 5


@pytest.mark.parametrize("one_sided", [0.0, 0.3, 0.85, 1.0])
@pytest.mark.parametrize("r", [-1.0, -0.6, 0.0, 0.4, 0.9])
def test_correlation_against_monte_carlo(
    one_sided: float, r: float, rng: np.random.Generator
) -> None:
    response, count = Response(one_sided), 400_000
    t, other = rng.standard_normal((2, count))
    a, b = exact(response, t), exact(response, r * t + np.sqrt(1 - r**2) * other)
    for value in (a, b):
        assert abs(value.mean()) < 4.5 / np.sqrt(count)  # standard errors; 20 cases
        assert abs((value**2).mean() - 1) < 4.5 * (value**2).std() / np.sqrt(count)
    product = a * b
    off = product.mean() - response.correlation(np.array(r))
    assert abs(off) <= 4.5 * product.std() / np.sqrt(count)


@given(SHARES)
def test_correlation_is_rising_from_the_floor_to_1(one_sided: float) -> None:
    response = Response(one_sided)
    curve = response.correlation(np.linspace(-1, 1, 501))
    assert (np.diff(curve) > 0).all()
    assert curve[0] == pytest.approx(response.floor, abs=1e-12)
    assert curve[-1] == pytest.approx(1.0, abs=1e-12)
    assert response.correlation(np.zeros(1)) == 0.0  # independent directions, independent scores


def test_the_floor() -> None:
    assert Response(0.0).floor == -1.0
    assert Response(1.0).floor == pytest.approx(-1 / (np.pi - 1))  # of max(t, 0) and max(-t, 0)


@given(SHARES, st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=9))
def test_direction_is_the_inverse(one_sided: float, values: list[float]) -> None:
    response, r = Response(one_sided), np.array(values)
    rho = response.correlation(r)
    np.testing.assert_allclose(response.correlation(response.direction(rho)), rho, atol=1e-12)


def test_direction_at_the_ends() -> None:
    response = Response(0.85)
    rho = np.array([-1.0, response.floor - 1e-3, response.floor, 0.0, 1.0])
    actual = response.direction(rho)
    assert actual[[0, 1, 2, 4]].tolist() == [-1.0, -1.0, -1.0, 1.0]
    assert abs(actual[3]) < 1e-15


@given(SHARES)
def test_the_even_share_is_what_a_line_leaves(one_sided: float) -> None:
    """1 - R2 of the best linear fit, by quadrature of each half line, where it is linear."""
    response = Response(one_sided)
    t, weights = np.abs(NODES), WEIGHTS
    slope = (weights * t * (exact(response, t) - exact(response, -t))).sum() / 2
    assert 1 - slope**2 == pytest.approx(response.even_share, abs=1e-9)
