from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data_synth.views import COPULA
from tests.marks import slow_except

SIGMAS = 4.5
COUNT = 60_000


def test_views_are_standard_normal_with_the_copula(world_of: Any, rng: Any) -> None:
    views = world_of("neutral").views
    z = rng.standard_normal((COUNT, views.row.shape[1]), dtype=np.float32)
    seen = views.of_customers(z, rng)
    bound = SIGMAS / np.sqrt(COUNT)
    assert np.abs(np.corrcoef(seen.T) - COPULA).max() < bound
    assert np.abs(seen.var(axis=0) - 1).max() < bound * np.sqrt(2)
    rows = views.of_rows(z, rng)
    assert rows.shape == (COUNT, 12 + 4 + 1)
    assert np.abs(rows.mean(axis=0)).max() < bound
    assert np.abs(rows.var(axis=0) - 1).max() < bound * np.sqrt(2)


def test_known_is_the_r2_of_the_best_linear_guess(world_of: Any, blocks_of: Any) -> None:
    """Least squares of what the scores read on all views, of rows and of their customers."""
    name = ("small", "customers.rows_each=1.0", "features.numeric=3", "customers.nuisance=2")
    world = world_of(*name)
    rng = np.random.default_rng(1)
    z, w, e = rng.standard_normal((3, COUNT, world.reading.shape[1]), dtype=np.float32)
    p, r = np.float32(0.7), np.float32(0.85)
    x = np.sqrt(p) * z + np.sqrt(1 - p) * w
    u = np.sqrt(r) * x + np.sqrt(1 - r) * e
    seen = np.hstack([world.views.of_rows(x, rng), world.views.of_customers(z, rng)])
    t = u @ world.reading.T
    guess = seen @ np.linalg.lstsq(seen, t, rcond=None)[0]
    actual = 1 - ((t - guess) ** 2).mean(axis=0) / (t**2).mean(axis=0)
    known = world.views.known(world.reading.astype(np.float64))
    # The standard error of an R2 is at most 2 sqrt(R2) (1 - R2) / sqrt(n), 0.77 / sqrt(n) at worst;
    # ten regressors add 10 / n.
    np.testing.assert_allclose(actual, known, atol=SIGMAS * 0.77 / np.sqrt(COUNT) + 10 / COUNT)
    assert known.min() > 0.05
    assert known.max() < 0.85


@pytest.mark.parametrize("name", slow_except(["demo"], ["neutral", "bank16", "demo"]))
def test_observable_is_a_share(name: str, world_of: Any) -> None:
    world = world_of(name)
    actual = world.observable()
    _, items, time = world.shares
    assert ((actual > items + time) & (actual < 1)).all()
    hidden = world_of(name, "features.revealed=0.0").observable()
    np.testing.assert_allclose(hidden, items + time, atol=1e-12)


def test_all_is_observable_where_nothing_is_hidden(world_of: Any) -> None:
    clear = world_of("neutral", "features.revealed=1.0", "features.noise=0.0").observable()
    np.testing.assert_allclose(clear, 1.0, atol=1e-5)  # float32 directions


def test_without_columns_only_day_and_items_are_observable(world_of: Any) -> None:
    bare = ("features.numeric=0", "features.categorical=[]", "features.lists=[]")
    world = world_of("neutral", *bare, "features.demographics=false")
    np.testing.assert_allclose(world.observable(), 0.25, atol=1e-12)
    world = world_of("neutral", "features.items=[]", "features.revealed=0.0")
    np.testing.assert_allclose(world.observable(), 0.05, atol=1e-12)
