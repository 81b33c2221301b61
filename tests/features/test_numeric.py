from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.columns.rows import Rows
from recsys_mtl.errors import UserError
from recsys_mtl.features.block import Numbers
from recsys_mtl.features.numeric import NumericFeature

NULLS = ["-999", "?", "unknown", "1e9"]
TRANSFORMS = ["standardize", "log1p", "quantile", "piecewise", "none"]
_NUMBERS = st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), max_size=30)


def _fitted(values: list[float | None], transform: str = "standardize", bins: int = 4):
    feature = NumericFeature("x", transform, bins)
    feature.update(_series(values), Rows(0, len(values)))
    feature.finish()
    return feature


def _series(values: list[float | None]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64)


def _encode(feature: NumericFeature, values: list[float | None]) -> np.ndarray:
    return feature.encode(_series(values), Rows(0, len(values)))


@pytest.mark.parametrize("transform", TRANSFORMS)
@given(train=_NUMBERS, later=_NUMBERS)
def test_encoding_is_always_finite_and_of_its_width(transform, train, later):
    feature = _fitted(train, transform)
    for values in (train, later):
        encoded = _encode(feature, values)
        assert encoded.dtype == np.float32
        assert encoded.shape == (len(values), feature.width)
        assert np.isfinite(encoded).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
@given(train=_NUMBERS)
def test_state_round_trips_exactly(transform, train):
    feature = _fitted(train, transform)
    assert NumericFeature.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature


def test_standardize_and_log1p_have_mean_0_and_deviation_1():
    x = np.random.default_rng(0).lognormal(size=5000)
    for transform, bound in (("standardize", 0.05), ("log1p", 1e-3)):
        encoded = _encode(_fitted(x.tolist(), transform), x.tolist())
        assert abs(encoded.mean()) < bound
        assert abs(encoded.std() - 1) < bound


def test_quantile_gives_normal_scores():
    x = np.random.default_rng(0).exponential(size=20_000).tolist()
    encoded = _encode(_fitted(x, "quantile"), x)
    assert abs(encoded.mean()) < 0.01
    assert abs(encoded.std() - 1) < 0.01
    assert np.abs(encoded).max() == pytest.approx(5.2)


def test_piecewise_has_its_bins_but_no_more_than_values():
    assert _fitted([0.0, 1.0, 2.0, 3.0, 4.0], "piecewise").spec.bins == 4
    assert _fitted([0.0] * 50 + [1.0, 2.0], "piecewise").spec.bins == 2
    gains = [0.0] * 900 + [float(x) for x in range(100, 200)]
    feature = _fitted(gains, "piecewise")
    assert (feature.spec.bins, feature.width) == (feature.bins, 1)
    assert feature.edges[:2] == [0.0, 100.0]


def test_bins_asked_and_got_are_reported(caplog):
    caplog.set_level("INFO")
    assert _fitted([0.0, 1.0, 2.0] * 5, "piecewise").facts == {"bins": {"asked": 4, "got": 2}}
    assert "column 'x': bins 4 asked, 2 got (3 distinct values)" in caplog.text
    caplog.clear()
    assert _fitted([float(x) for x in range(9)], "piecewise").facts["bins"]["got"] == 4
    assert (_fitted([1.0, 2.0]).facts, caplog.text) == ({}, "")


def _piecewise_linear(x: float, edges: list[float]) -> list[float]:
    """Gorishniy et al. 2022, equation 1, outer bins extended up to 10 widths."""
    bins, last = [], len(edges) - 2
    for t, (start, end) in enumerate(pairwise(edges)):
        ratio = (x - start) / (end - start)
        if x < start and t > 0:
            ratio = 0.0
        if x >= end and t < last:
            ratio = 1.0
        bins.append(min(max(ratio, -10.0), 10.0))
    return bins


def test_the_network_reads_bins_in_the_order_of_the_features():
    x = np.random.default_rng(0).lognormal(size=300).round(2)
    values: list[float | None] = [*x.tolist(), None, -1e6, 1e6]
    features = [
        NumericFeature(name, transform, bins, name=name)
        for name, transform, bins in [
            ("a", "piecewise", 5), ("b", "none", 2), ("c", "piecewise", 2), ("d", "piecewise", 48)
        ]
    ]  # fmt: skip
    rows = Rows(0, len(values))
    for feature in features:
        known = _series(x.tolist() if feature.name == "c" else values)
        feature.update(known, Rows(0, len(known)))
        feature.finish()
    encoded = {f.name: f.encode(_series(values), rows) for f in features}
    block = Numbers.of(encoded, len(values))
    assert block.values.shape[1] == 7
    module = NumericFeature.inputs([feature.spec for feature in features])
    assert (module.widths, module.state_dict()) == ((5 + 1, 1 + 1, 2, 48 + 1), {})
    expected = []
    for value in values:
        row: list[float] = []
        for feature in features:
            number = feature.median if value is None else value
            piecewise = feature.transform == "piecewise"
            row += _piecewise_linear(number, feature.edges) if piecewise else [number]
            row += [float(value is None)] if feature.indicator else []
        expected.append(row)
    actual = module({Numbers.layout: block}).numpy()
    np.testing.assert_allclose(actual, np.array(expected), rtol=1e-6, atol=3e-6)


def test_numbers_without_bins_are_not_copied():
    module = NumericFeature.inputs([_fitted([1.0, 2.0, None], "none").spec])
    block = Numbers.of({"x": np.ones((3, 2), np.float32)}, 3)
    assert module({Numbers.layout: block}) is block.values


def test_missing_values_are_the_median_with_an_indicator():
    feature = _fitted([1.0, None, 2.0, 9.0, float("nan")], "none")
    np.testing.assert_array_equal(_encode(feature, [None, 5.0]), [[2.0, 1.0], [5.0, 0.0]])


def test_without_missing_values_in_train_there_is_no_indicator():
    feature = _fitted([1.0, 2.0, 9.0], "none")
    np.testing.assert_array_equal(_encode(feature, [None, 5.0]), [[2.0], [5.0]])


@pytest.mark.parametrize("transform", ["standardize", "log1p", "quantile", "piecewise"])
def test_a_constant_column_is_zero(transform):
    feature = _fitted([0.1, 0.1, None, 0.1], transform)
    np.testing.assert_array_equal(
        _encode(feature, [0.1, 7.0, None]), [[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    )


def test_a_column_without_values_warns_and_is_zero(caplog):
    feature = _fitted([None, None])
    assert "column 'x' has no value" in caplog.text
    np.testing.assert_array_equal(_encode(feature, [None, 3.0]), [[0.0, 1.0], [0.0, 0.0]])


def test_wrong_values_are_refused():
    feature = _fitted([1.0, 2.0])
    with pytest.raises(UserError, match="column 'x': infinite value"):
        _encode(feature, [1.0, float("inf")])
    with pytest.raises(UserError, match="column 'x': wrong type"):
        feature.encode(pl.Series(["1"]), Rows(0, 1))
    assert feature.encode(pl.Series([True]), Rows(0, 1)).shape == (1, 1)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1.0, -999.0, 3.0, 1e9, None]),
        pl.Series([1.0, -999.0, 3.0, 1e9, None], dtype=pl.Float32),
        pl.Series([1, -999, 3, 10**9, None]),
        pl.Series(["1", " -999.0", "3.0 ", "unknown", None]),
        pl.Series(["1", "?", "3", "", "NA"]),
    ],
)
def test_values_that_mean_missing(values: pl.Series) -> None:
    """The same in training and scoring, in numbers as in text."""
    feature = NumericFeature("x", "none", null_values=NULLS)
    rows = Rows(0, len(values))
    feature.update(values, rows)
    feature.finish()
    assert (feature.median, feature.indicator) == (2.0, True)
    expected = [[1, 0], [2, 1], [3, 0], [2, 1], [2, 1]]
    assert feature.encode(values, rows).tolist() == expected
    later = NumericFeature.from_dict(json.loads(json.dumps(feature.to_dict())))
    assert later.encode(values, rows).tolist() == expected
    assert np.isnan(feature.observed(values, rows, None)["feature"]).tolist() == [
        bool(missing) for _, missing in expected
    ]


def test_a_float32_sentinel_is_the_number_that_was_written() -> None:
    feature = NumericFeature("x", "none", null_values=["-99.9"])
    encoded = feature.encode(pl.Series([-99.9], dtype=pl.Float32), Rows(0, 1))
    assert encoded.tolist() == [[0.0]]


def test_other_text_is_named() -> None:
    feature = NumericFeature("x", "none", null_values=NULLS)
    with pytest.raises(UserError, match=r"column 'x': not a number.*'many' in row 1"):
        feature.encode(pl.Series(["1", "many"]), Rows(0, 2))
    with pytest.raises(UserError, match="expected numbers or booleans"):
        NumericFeature("x", "none").encode(pl.Series(["1"]), Rows(0, 1))
