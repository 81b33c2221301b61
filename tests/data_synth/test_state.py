from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from data_synth import Plan
from data_synth.state import draw_customers, draw_state

ROWS = 40_000
SIGMAS = 4.5  # two-sided chance of 7e-6 of passing a bound once


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).mean() / np.sqrt((a**2).mean() * (b**2).mean()))


@pytest.mark.parametrize(("persistence", "revealed"), [(0.0, 1.0), (0.4, 0.7), (1.0, 0.0)])
def test_variances_and_shares(
    persistence: float, revealed: float, plan_of: Callable[..., Plan], rng: Any
) -> None:
    plan = plan_of("small", f"customers.persistence={persistence}", f"features.revealed={revealed}")
    prototypes = rng.standard_normal((6, 3)).astype(np.float32)
    customers = draw_customers(rng, 0, ROWS, prototypes)
    state = draw_state(rng, plan, ROWS, customers)
    z = customers.z[state.customer]
    # At worst all of the state is the customer's. A row shares it with 16/15 others on average: the
    # integral of the squared density 0.8 q^-0.2 of customers over rows, with as many of both.
    effective = ROWS / (1 + 16 / 15)
    bound = SIGMAS / np.sqrt(3 * effective)
    for values in (state.x, state.u):
        assert abs(values.mean()) < bound
        assert abs((values**2).mean() - 1) < bound * np.sqrt(2)
    assert abs(correlation(state.x, z) - np.sqrt(persistence)) < bound
    assert abs(correlation(state.u, state.x) - np.sqrt(revealed)) < bound
    assert abs(correlation(state.u, z) - np.sqrt(revealed * persistence)) < bound
    assert abs(correlation(state.u[:, 0], state.u[:, 1])) < SIGMAS / np.sqrt(effective)


def test_personas_are_the_nearest_prototypes(rng: np.random.Generator) -> None:
    prototypes = rng.standard_normal((5, 4)).astype(np.float32)
    customers = draw_customers(rng, 700, 1000, prototypes)
    assert customers.first == 700
    assert customers.z.shape == (1000, 4)
    np.testing.assert_array_equal(customers.persona, np.argmax(customers.z @ prototypes.T, axis=1))
    assert len(np.unique(customers.persona)) == 5


def test_every_day_and_uneven_customers(plan_of: Callable[..., Plan], rng: Any) -> None:
    plan = plan_of("small")
    customers = draw_customers(rng, 0, 2000, np.eye(3, dtype=np.float32))
    state = draw_state(rng, plan, 12_000, customers)
    assert np.unique(state.day).tolist() == list(range(plan.period.days))
    rows = np.bincount(state.customer, minlength=2000)
    assert len(rows) == 2000
    # Density (1/1.25) q^-0.2 over q in (0, 1): the first tenth has 0.1^0.8 = 15.8 % of the rows.
    share = rows[:200].sum() / 12_000
    assert abs(share - 0.1**0.8) < SIGMAS * np.sqrt(0.158 * 0.842 / 12_000)
