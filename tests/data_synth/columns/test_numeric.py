from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtri

from data_synth import Plan
from data_synth.columns.numeric import SHAPES, not_at_random, numbers

ROWS = 60_000
SIGMAS = 4.5


def draw(plan: Plan, rng: np.random.Generator, columns: int = 6) -> tuple[np.ndarray, dict]:
    views = rng.standard_normal((ROWS, columns), dtype=np.float32)
    time = rng.random(ROWS) - 0.5
    return views, numbers(views, time, plan.features, rng)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_rises_and_is_finite(shape: Callable[[np.ndarray], np.ndarray]) -> None:
    values = shape(np.linspace(-6, 6, 500, dtype=np.float32))
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()
    assert values[-1] > values[0]


def test_tails(plan_of: Callable[..., Plan], rng: np.random.Generator) -> None:
    """Lognormal and normal to their ends; the Pareto tail has its exponent (Hill's estimate)."""
    _, columns = draw(plan_of("small", "features.drift=0.0"), rng)
    values = {name: column.drop_null().to_numpy() for name, column in columns.items()}
    logs = np.log(values["number_01"])
    se = 1 / np.sqrt(len(logs))
    assert abs(logs.mean() - 3.0) < SIGMAS * 0.9 * se
    assert abs(logs.std() - 0.9) < SIGMAS * 0.9 * se / np.sqrt(2)
    top = np.sort(values["number_03"])[-2000:]
    hill = 1 / np.log(top / top[0])[1:].mean()
    assert abs(hill - 2.5) < SIGMAS * 2.5 / np.sqrt(2000)
    counts = values["number_04"]
    np.testing.assert_array_equal(counts, np.floor(counts))
    assert counts.min() == 0
    shares = values["number_06"]
    # Uniform but for the nulls, which rise to 0.2: E[U (1 - 0.2 U)] / 0.9
    assert abs(shares.mean() - (1 / 2 - 0.2 / 3) / 0.9) < SIGMAS * 0.29 * se
    assert ((shares > 0) & (shares < 1)).all()


def test_missing_at_random_does_not_depend_on_the_value(
    plan_of: Callable[..., Plan], rng: np.random.Generator
) -> None:
    views, columns = draw(plan_of("small"), rng)
    for index, share in ((0, 0.05), (1, 0.1)):
        null = columns[f"number_{index + 1:02}"].is_null().to_numpy(zero_copy_only=False)
        se = np.sqrt(share * (1 - share) / ROWS)
        assert abs(null.mean() - share) < SIGMAS * se
        shift = views[null, index].mean()
        if index == 0:
            assert abs(shift) < SIGMAS / np.sqrt(null.sum())
        else:
            # E[g | null] = E[g 2 Phi(g)] = 1 / sqrt(pi)
            assert abs(shift - 1 / np.sqrt(np.pi)) < SIGMAS / np.sqrt(null.sum())


def test_not_at_random_at_most_twice_the_share(rng: np.random.Generator) -> None:
    view = ndtri(np.array([0.001, 0.999])).repeat(50_000).astype(np.float32)
    null = not_at_random(view, 0.5, rng).reshape(2, -1).mean(axis=1)
    assert (np.abs(null - [0.001, 0.999]) < SIGMAS * np.sqrt(0.001 / 50_000)).all()


def test_drift_shifts_by_so_many_deviations(
    plan_of: Callable[..., Plan], rng: np.random.Generator
) -> None:
    plan = plan_of("small", "features.drift=0.5", "features.missing.at_random=0.0")
    views = rng.standard_normal((ROWS, 2), dtype=np.float32)
    time = np.linspace(-0.5, 0.5, ROWS)
    column = numbers(views, time, plan.features, rng)["number_01"]
    seen = (np.log(column.to_numpy()) - 3.0) / 0.9
    np.testing.assert_allclose(seen - views[:, 0], 0.5 * time, atol=1e-5)  # float32


def test_columns_beyond_the_shapes_start_again(
    plan_of: Callable[..., Plan], rng: np.random.Generator
) -> None:
    plan = plan_of("small", "features.missing={at_random: 0.0, not_at_random: 0.0}")
    views = np.tile(rng.standard_normal((100, 1), dtype=np.float32), 7)
    columns = numbers(views, np.zeros(100), plan.features, rng)
    assert list(columns) == [f"number_{index:02}" for index in range(1, 8)]
    assert columns["number_07"] == columns["number_01"]
    assert all(column.null_count == 0 for column in columns.values())
