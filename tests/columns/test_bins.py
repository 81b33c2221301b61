from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from recsys_mtl.columns.bins import (
    Bins,
    CategoryBins,
    ClassBins,
    NumberBins,
    bins_from_dict,
    bins_to_dict,
)


def test_ten_bins_of_equal_shares(rng: np.random.Generator) -> None:
    numbers = rng.normal(size=1000)
    bins = NumberBins.of(numbers)
    counts = bins.count(numbers)
    assert len(counts) == len(bins.cells) == 11
    assert counts[:-1] == pytest.approx(100, abs=1)
    assert counts[-1] == 0


def test_a_frequent_value_has_a_bin_of_its_own(rng: np.random.Generator) -> None:
    numbers = np.concatenate([np.full(700, 3.0), rng.uniform(4, 5, 300)])
    bins = NumberBins.of(numbers)
    counts = dict(zip(bins.cells, bins.count(numbers), strict=True))
    assert counts["3 – 3"] == 700
    assert counts["< 3"] == counts["null"] == 0
    moved = bins.count(np.full(7, 3.5))
    assert moved[bins.cells.index("3 – 3")] == 0


def test_float32_keeps_its_bins(rng: np.random.Generator) -> None:
    numbers = rng.integers(0, 4, 500) / 10
    bins = NumberBins.of(numbers)
    assert bins.count(numbers.astype(np.float32)).tolist() == bins.count(numbers).tolist()


def test_the_largest_number_may_be_frequent() -> None:
    huge = float(np.finfo(np.float32).max)
    bins = NumberBins.of([*range(60), *[huge] * 40])
    assert np.isfinite(bins.edges).all()
    assert bins.count([huge, 1e308, 7.0])[-2] == 2


def test_null_and_huge_numbers_are_counted() -> None:
    bins = NumberBins.of(np.arange(20.0))
    counts = bins.count(np.array([np.nan, 1e300, -1e300]))
    assert (counts[0], counts[-2], counts[-1]) == (1, 1, 1)
    assert counts.sum() == 3


def test_a_column_of_nulls_only() -> None:
    bins = NumberBins.of(np.full(5, np.nan))
    assert bins.cells == ["any", "null"]
    assert bins.count(np.array([np.nan, 2.0, 3.0])).tolist() == [2, 1]


def test_the_most_frequent_categories_have_bins(rng: np.random.Generator) -> None:
    codes = np.concatenate([np.full(9, 3), np.full(4, 2), np.repeat(np.arange(4, 70), 1), [0, 1]])
    bins = CategoryBins.of(codes, 80, [f"v{row}" for row in range(2, 80)])
    counts = bins.count(codes)
    assert bins.cells[:2] == ["v3", "v2"]
    assert len(bins.rows) == 50
    assert counts[:2].tolist() == [9, 4]
    assert counts[-3:].tolist() == [66 - 48, 1, 1]
    assert counts.sum() == len(codes)


def test_hashed_categories_are_buckets() -> None:
    bins = CategoryBins.of(np.array([2, 4, 4]), 7, [])
    assert bins.cells == ["bucket 2", "bucket 0", "other known", "unknown", "null"]
    assert bins.count(np.array([6, 2])).tolist() == [0, 1, 1, 0, 0]


def test_classes_are_counted() -> None:
    bins = ClassBins(("low", "mid", "high"))
    assert bins.count(pl.Series(["high", "low", "high"])).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "bins",
    [NumberBins((0.5, 1.25)), CategoryBins((2, 5), ("a", "b"), 9), ClassBins(("x", "y"))],
)
def test_json_restores(bins: Bins) -> None:
    assert bins_from_dict(json.loads(json.dumps(bins_to_dict(bins)))) == bins
