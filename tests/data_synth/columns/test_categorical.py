from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from data_synth import Plan
from data_synth.columns import categories, lists
from data_synth.zipf import Zipf

ROWS = 100_000
SIGMAS = 4.5


def by_rank(values: np.ndarray, zipf: Zipf) -> np.ndarray:
    """Shares of the ids in the order of their rank."""
    names = zipf.names(np.arange(zipf.ids, dtype=np.int32))
    return np.bincount(values, minlength=zipf.ids)[names] / len(values)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.1])
def test_ids_are_used_like_zipf(
    exponent: float, plan_of: Callable[..., Plan], rng: np.random.Generator
) -> None:
    plan = plan_of("small", "features.categorical=[50]", f"features.zipf={exponent}")
    views = rng.standard_normal((ROWS, 1), dtype=np.float32)
    actual = by_rank(categories(views, plan.features)["category_01"].to_numpy(), Zipf(50, exponent))
    chances = Zipf(50, exponent).chances()
    assert (np.abs(actual - chances) < SIGMAS * np.sqrt(chances / ROWS)).all()


def test_an_id_is_an_interval_of_the_view(plan_of: Callable[..., Plan]) -> None:
    views = np.linspace(-4, 4, 5000, dtype=np.float32)[:, None]
    ids = categories(views, plan_of("small").features)["category_01"].to_numpy()
    assert (np.diff(ids) != 0).sum() == 10 - 1
    assert len(np.unique(ids)) == 10


def test_high_cardinality_is_used(plan_of: Callable[..., Plan], rng: np.random.Generator) -> None:
    plan = plan_of("small", "features.categorical=[1000000]")
    views = rng.standard_normal((ROWS, 1), dtype=np.float32)
    ids = categories(views, plan.features)["category_01"].to_numpy()
    assert ids.min() >= 0
    assert ids.max() < 1_000_000
    # Each id is used in one row or more with chance 1 - (1 - p)^rows.
    chances = Zipf(1_000_000, 1.1).chances()
    used = -np.expm1(ROWS * np.log1p(-chances))
    assert abs(len(np.unique(ids)) - used.sum()) < SIGMAS * np.sqrt((used * (1 - used)).sum())


def test_lists_have_poisson_lengths_and_common_taste(
    plan_of: Callable[..., Plan], rng: np.random.Generator
) -> None:
    plan = plan_of("small", "features.lists=[20]")
    views = rng.standard_normal((ROWS, 1), dtype=np.float32)
    column = lists(views, plan.features, rng)["recent_01"]
    lengths = np.diff(column.offsets.to_numpy())
    assert abs(lengths.mean() - 4.0) < SIGMAS * np.sqrt(4.0 / ROWS)
    assert abs(lengths.var() - 4.0) < SIGMAS * np.sqrt((4.0 + 2 * 16) / ROWS)  # of a Poisson
    empty = (lengths == 0).mean()
    assert abs(empty - np.exp(-4.0)) < SIGMAS * np.sqrt(np.exp(-4.0) / ROWS)
    zipf, flat = Zipf(20, 1.1), column.values.to_numpy()
    actual, chances = by_rank(flat, zipf), zipf.chances()
    # Entries of a row are correlated: at worst as few as rows.
    assert (np.abs(actual - chances) < SIGMAS * np.sqrt(chances / ROWS)).all()
    rank = np.empty(20, dtype=np.int64)
    rank[zipf.names(np.arange(20, dtype=np.int32))] = np.arange(20)
    first = column.offsets.to_numpy()[:-1][lengths > 1]
    pair = rank[flat[first]], rank[flat[first + 1]]
    assert np.corrcoef(*pair)[0, 1] > 0.4  # 0.6 of the views behind them, less what ranks lose
