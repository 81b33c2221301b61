from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from data_synth.grid import FINE
from data_synth.targets import RegressionTarget

NORMAL = np.exp(-(FINE.points**2) / 2)
STEPS = np.linspace(-12, 32, 4001)  # sums over smooth curves that vanish at both ends are exact
DENSITY = np.exp(-(STEPS**2) / 2) / np.sqrt(2 * np.pi) * (STEPS[1] - STEPS[0])
DISTRIBUTIONS: Any = st.sampled_from(["normal", "lognormal", "unit"])
LINKS: dict[str, Any] = {"normal": lambda v: v, "lognormal": np.exp, "unit": ndtr}


def fit(distribution: Any, noise: float = 0.0, **more: float) -> RegressionTarget:
    options = {"mean": 0.5, "spread": 0.8, "r2": 0.4} | more
    return RegressionTarget.fit(NORMAL, distribution=distribution, noise=noise, **options)


@given(DISTRIBUTIONS, st.floats(-3, 3), st.floats(0.1, 5.0), st.floats(0.01, 0.99))
def test_expected_values_against_integration(
    distribution: str, mean: float, spread: float, r2: float
) -> None:
    target = fit(distribution, mean=mean, spread=spread, r2=r2)
    link, rest = LINKS[distribution], spread * np.sqrt(1 - r2)
    first, second = target._moments()
    for score in (-2.0, 0.0, 2.0):
        eta = mean + spread * np.sqrt(r2) * score
        place = FINE.nearest(np.array(score))

        values = link(eta + rest * STEPS)
        expected = values @ DENSITY
        told = target.predict(target.linear(np.array([score])))[0]
        assert told == pytest.approx(expected, rel=1e-7, abs=1e-9)
        # 64 nodes resolve so steep a distribution function to 1e-5; truth.json has 6 digits.
        assert first[place] == pytest.approx(expected, rel=1e-5, abs=2e-6)
        assert second[place] == pytest.approx(values**2 @ DENSITY, rel=1e-5, abs=2e-6)


@given(st.floats(0.05, 0.95))
def test_r2_of_a_normal_value_is_the_plans(r2: float) -> None:
    metrics = fit("normal", r2=r2).metrics(NORMAL)
    assert metrics["oracle"]["r2"] == pytest.approx(r2, abs=1e-6)
    assert metrics["oracle"]["rmse"] == pytest.approx(0.8 * np.sqrt(1 - r2), abs=1e-6)
    assert metrics["constant"]["rmse"] == pytest.approx(0.8, abs=1e-6)


def test_noise_costs_its_square_of_r2_for_normal_values() -> None:
    """A share q of rows takes another's score: covariance and prediction shrink by 1 - q each."""
    metrics = fit("normal", noise=0.3).metrics(NORMAL)
    assert metrics["oracle"]["r2"] == pytest.approx(0.4 * 0.7**2, abs=1e-6)
    assert metrics["constant"]["rmse"] == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("distribution", ["normal", "lognormal", "unit"])
def test_draws_have_the_predicted_moments(
    distribution: str, noise: float, rng: np.random.Generator
) -> None:
    target, count = fit(distribution, noise), 200_000
    scores = rng.standard_normal(count).astype(np.float32)
    drawn = target.draw(scores, rng).astype(np.float64)
    assert np.isfinite(drawn).all()
    off = drawn - target.predict(target.linear(scores))
    for side in (scores < -0.5, np.abs(scores) <= 0.5, scores > 0.5):
        assert abs(off[side].mean()) < 4.5 * off[side].std() / np.sqrt(side.sum())
    spread = off**2 - target.metrics(NORMAL)["oracle"]["rmse"] ** 2
    assert abs(spread.mean()) < 4.5 * spread.std() / np.sqrt(count)
    assert abs(drawn.mean() - target.constant()) < 4.5 * drawn.std() / np.sqrt(count)


def test_unit_values_are_inside_their_interval(rng: np.random.Generator) -> None:
    drawn = fit("unit").draw(rng.standard_normal(10_000).astype(np.float32), rng)
    assert drawn.dtype == np.float32
    assert ((drawn > 0) & (drawn < 1)).all()
