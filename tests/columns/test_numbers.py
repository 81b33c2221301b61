from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys_mtl.columns.numbers import Moments, Sample, read_numbers
from recsys_mtl.columns.rows import Rows
from recsys_mtl.errors import UserError


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1, None, 0]),
        pl.Series([1.0, float("nan"), 0.0]),
        pl.Series([True, None, False]),
        pl.Series(["1.00", None, "0.00"]).cast(pl.Decimal(10, 2)),
    ],
)
def test_numbers_of_any_type(values):
    numbers = read_numbers(values, where="column 'x'", rows=Rows(0, 3))
    np.testing.assert_array_equal(numbers, [1.0, np.nan, 0.0])


def test_a_column_of_null_is_missing_numbers():
    assert np.isnan(read_numbers(pl.Series([None]), where="", rows=Rows(0, 1))).all()


@pytest.mark.parametrize("values", [pl.Series(["1"]), pl.Series([[1.0]])])
def test_other_types_are_refused(values):
    with pytest.raises(UserError, match=r"column 'x'.*numbers or booleans"):
        read_numbers(values, where="column 'x'", rows=Rows(0, 1))


def test_infinite_values_are_refused_with_their_row():
    values = pl.Series([1.0, None, float("-inf"), float("inf")])
    with pytest.raises(UserError, match=r"column 'x': infinite value.*-inf in row 12 "):
        read_numbers(values, where="column 'x'", rows=Rows(10, 4))
    with pytest.raises(UserError, match="row 70 "):
        read_numbers(values, where="x", rows=Rows(0, 4, pl.Series([50, 60, 70, 80])))


def test_moments_equal_those_of_all_values_at_once():
    x = np.random.default_rng(0).normal(1e6, 3.0, 10_000)
    moments = Moments()
    for part in np.split(x, [0, 7, 4000, 4001]):
        moments.update(part)
    assert moments.count == 10_000
    np.testing.assert_allclose(moments.mean, x.mean(), rtol=1e-14)
    np.testing.assert_allclose(moments.sd, x.std(), rtol=1e-10)


@pytest.mark.parametrize("x", [[], [0.1], [0.1] * 1000])
def test_equal_values_have_no_deviation(x):
    moments = Moments()
    moments.update(np.array(x))
    assert moments.sd == 0.0


def test_a_sample_is_bounded_uniform_and_ignores_chunks():
    rows = Rows(0, 50_000)
    x = np.arange(50_000.0)
    samples = []
    for cuts in ([], [1, 999, 30_000]):
        sample = Sample(1000)
        for values, hashes in zip(np.split(x, cuts), np.split(rows.hashes, cuts), strict=True):
            sample.update(values, hashes)
        samples.append(sample.quantiles(np.linspace(0, 1, 1000)))
    np.testing.assert_array_equal(*samples)
    assert len(samples[0]) == len(np.unique(samples[0])) == 1000
    assert abs(samples[0].mean() - 25_000) < 2000


@pytest.mark.parametrize("weighted", [False, True])
def test_a_sample_is_cut_as_if_all_values_were_held(weighted):
    rows, rng = Rows(0, 5_000), np.random.default_rng(0)
    x = rng.integers(0, 50, 5_000).astype(float)
    weights = rng.random(5_000) + 0.1 if weighted else None
    sample = Sample(700)
    for part in np.split(np.arange(5_000), [300, 310, 1_900, 2_000, 4_999]):
        sample.update(x[part], rows.hashes[part], None if weights is None else weights[part])
    kept = np.sort(np.argsort(rows.hashes)[:700])
    assert len(sample) == 700
    values, own = sample.rows()
    np.testing.assert_array_equal(np.sort(values), np.sort(x[kept]))
    expected = np.ones(700) if weights is None else weights[kept]
    np.testing.assert_array_equal(np.sort(own), np.sort(expected))


def test_weights_count_like_repeated_values():
    rng = np.random.default_rng(0)
    x, counts = rng.normal(1e3, 1.0, 500), rng.integers(1, 4, 500)
    every, weights, levels = np.repeat(x, counts), counts.astype(float), np.linspace(0, 1, 37)
    moments, sample = Moments(), Sample()
    for part in (slice(0, 100), slice(100, 100), slice(100, 500)):
        moments.update(x[part], weights[part])
        sample.update(x[part], Rows(0, 500).hashes[part], weights[part])
    assert moments.count == counts.sum()
    np.testing.assert_allclose([moments.mean, moments.sd], [every.mean(), every.std()], rtol=1e-9)
    expected = np.quantile(every, levels, method="inverted_cdf")
    np.testing.assert_array_equal(sample.quantiles(levels), expected)
    assert sample.median() == np.quantile(every, 0.5, method="inverted_cdf")


def test_hashes_depend_on_the_position_only():
    np.testing.assert_array_equal(Rows(0, 10).hashes[4:], Rows(4, 6).hashes)
