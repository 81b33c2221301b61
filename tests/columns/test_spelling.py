from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.columns.coder import FIRST_ROW, NULL_ROW, UNKNOWN_ROW
from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.spelling import null_texts, one_spelling
from recsys_mtl.columns.state import FittedState
from recsys_mtl.columns.vocabulary import Vocabulary

NOON, ZONED = datetime(2024, 1, 2, 12), datetime(2024, 1, 2, 12, tzinfo=UTC)

ALIKE = {
    "a half": [
        pl.Series([0.5]),
        pl.Series([0.5], dtype=pl.Float32),
        pl.Series([0.5], dtype=pl.Float16),
        pl.Series([Decimal("0.50")]),
        pl.Series([Decimal("0.5")], dtype=pl.Decimal(38, 10)),
        pl.Series(["0.5", "0.50", ".5", "5e-1", "5.0E-1", "0.500000"]),
    ],
    "a tenth": [
        pl.Series([0.1]),
        pl.Series([0.1], dtype=pl.Float32),
        pl.Series([0.1], dtype=pl.Float32).cast(pl.Float64),
        pl.Series([0.1], dtype=pl.Float16),
        pl.Series([Decimal("0.10")]),
        pl.Series(["0.1", ".10", "1.0E-1", "0.10000000000000001", "0.10000000149011612"]),
    ],
    "a small one": [
        pl.Series([1e-5]),
        pl.Series([1e-5], dtype=pl.Float32),
        pl.Series([Decimal("0.00001000")]),
        pl.Series(["1e-05", "1.0E-5", "1E-005", "0.00001", ".000010"]),
    ],
    "minus three": [
        pl.Series([-3]),
        pl.Series([-3.0]),
        pl.Series([Decimal("-3.00")]),
        pl.Series(["-3", "-3.0", "-3.000", "-3e0", "-3.0E+00"]),
    ],
    "a hundred thousand": [
        pl.Series([100_000], dtype=pl.UInt64),
        pl.Series([1e5], dtype=pl.Float32),
        pl.Series([Decimal("100000")]),
        pl.Series(["100000", "1e5", "1e+05", "1E+05", "1.0E5", "100000.00"]),
    ],
    "beyond 64 bits": [
        pl.Series([10**20], dtype=pl.Int128),
        pl.Series([1e20]),
        pl.Series([Decimal(10**20)]),
        pl.Series(["100000000000000000000", "1e20", "1e+20", "1.0E20"]),
    ],
    "a long id": [
        pl.Series([2**60]),
        pl.Series([float(2**60)]),
        pl.Series([Decimal(2**60)]),
        pl.Series([str(2**60), f"{2**60}.0", "1.152921504606847e+18"]),
    ],
    "zero": [
        pl.Series([0]),
        pl.Series([-0.0]),
        pl.Series([Decimal("0.00")]),
        pl.Series([False]),
        pl.Series(["0", "-0", "0.00", "-0.0", "0e0", "0E+00", "False", "FALSE", "false"]),
    ],
    "infinity": [pl.Series([float("inf")]), pl.Series(["inf", "Infinity"])],
    "noon": [
        pl.Series([NOON]),
        pl.Series([NOON], dtype=pl.Datetime("ns")),
        pl.Series(["2024-01-02 12:00:00", "2024-01-02T12:00:00.000", "2024-01-02 12:00"]),
    ],
    "noon in UTC": [
        pl.Series([ZONED]),
        pl.Series([ZONED], dtype=pl.Datetime("ms", "UTC")),
        pl.Series([ZONED]).dt.convert_time_zone("Europe/Berlin"),
        pl.Series([ZONED]).dt.convert_time_zone("Asia/Kolkata"),
        pl.Series(
            ["2024-01-02T12:00:00Z", "2024-01-02 12:00:00+00", "2024-01-02 13:00:00.000+0100"]
        ),
    ],
    "a day": [
        pl.Series([datetime(2024, 1, 2).date()]),
        pl.Series([datetime(2024, 1, 2)]),
        pl.Series(["2024-01-02", "2024-01-02T00:00:00", "2024-01-02 00:00"]),
    ],
    "a time of day": [
        pl.Series([time(3, 4, 5, 120_000)]),
        pl.Series(["03:04:05", "03:04:05.12", "03:04:05.120000"]),
    ],
}


@pytest.mark.parametrize("columns", ALIKE.values(), ids=ALIKE)
def test_a_model_knows_a_number_or_moment_in_every_spelling(columns) -> None:
    other = pl.Series(["7.25", "x"])
    for fitted_on in columns:
        known, hashed = Vocabulary([]), HashBuckets([], 10_007, one_spelling=True)
        known.update(other)
        known.update(fitted_on.head(1))
        known.finish()
        row = known.codes(fitted_on.head(1))[0]
        bucket = hashed.codes(fitted_on.head(1))[0]
        assert row >= FIRST_ROW
        for scored in columns:
            assert set(known.codes(scored)) == {row}, (fitted_on, scored)
            assert set(hashed.codes(scored)) == {bucket}, (fitted_on, scored)


@pytest.mark.parametrize(
    "text",
    [
        "007",
        "1e03",
        "00e12345",
        "+5",
        "3.",
        "1,5",
        "1_0",
        "1e400",
        "1e-400",
        "e5",
        "03:04",
        "a",
        "١.٥",
        "--1",
        ".",
        "-",
        "2024-02-30 00:00",
        "0001-01-01 00:00+05",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert one_spelling(pl.Series([text])).to_list() == [text]


def test_texts_that_training_had_are_not_mixed() -> None:
    versions = Vocabulary([])
    versions.update(pl.Series(["1.10", "1.10", "1.1"]))
    versions.finish()
    assert versions.values == ["1.10", "1.1"]
    assert versions.codes(pl.Series(["1.1", "1.10", "1.100"])).tolist() == [3, 2, 2]
    assert versions.codes(pl.Series([1.1, None])).tolist() == [3, NULL_ROW]


def test_a_text_that_is_not_a_number_is_missing_unless_training_had_it() -> None:
    assert one_spelling(pl.Series(["NaN", "nan", "Nan"])).to_list() == [None, None, "Nan"]
    names = Vocabulary([])
    names.update(pl.Series(["nan", "x", "NaN", "NaN"]))
    names.finish()
    assert names.codes(pl.Series(["nan", "NaN", "y"])).tolist() == [2, NULL_ROW, UNKNOWN_ROW]


def test_nan_in_a_csv_is_null_as_in_parquet() -> None:
    for column in (pl.Series(["0.5", "NaN"]), pl.Series([0.5, float("nan")])):
        known = Vocabulary([])
        known.update(column)
        known.finish()
        assert known.values == ["0.5"]
        for scored in (pl.Series(["NaN", "0.50"]), pl.Series([float("nan"), 0.5])):
            assert known.codes(scored).tolist() == [NULL_ROW, FIRST_ROW]


def test_a_null_value_is_null_in_every_spelling() -> None:
    nulls = null_texts(["-99.90", "true", "n/a"])
    assert nulls == ["-99.90", "true", "n/a", "-99.9"]
    for coder in (Vocabulary(nulls), HashBuckets(nulls, 97, one_spelling=True)):
        coder.update(pl.Series([1.5, -99.9]))
        coder.finish()
        for column in (pl.Series([-99.9]), pl.Series(["-99.900", "n/a", "true"])):
            assert set(coder.codes(column)) == {NULL_ROW}


def test_a_hash_of_an_earlier_version_stays() -> None:
    """The numbers are those of a model that was saved before one spelling was introduced."""
    stored = {"kind": "hash", "null_values": [], "buckets": 1000}
    earlier = FittedState.from_dict(stored)
    assert isinstance(earlier, HashBuckets)
    texts = pl.Series(["0.50", "0.5", "1e5", "true", "a", None])
    assert earlier.codes(texts).tolist() == [720, 509, 598, 765, 506, 1]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_meets_its_texts(number: float) -> None:
    texts = pl.Series([repr(number), f"{number:.17e}", f"{number:.16E}", str(np.float64(number))])
    spelt = one_spelling(canonical(pl.Series([number])))[0]
    assert set(one_spelling(canonical(texts))) == {spelt}
    assert (
        float(spelt) == number
        or spelt == repr(float(np.float32(number)))
        or (np.float32(float(spelt)) == np.float32(number))
    )


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_every_decimal_meets_its_float(number: Decimal) -> None:
    spelt = one_spelling(canonical(pl.Series([number], dtype=pl.Decimal(20, 4))))
    assert one_spelling(canonical(pl.Series([float(number)]))).to_list() == spelt.to_list()
    assert one_spelling(canonical(pl.Series([str(number)]))).to_list() == spelt.to_list()


@given(st.text(), st.floats(width=32))
def test_spelling_twice_changes_nothing(text: str, number: float) -> None:
    once = one_spelling(canonical(pl.Series([text, str(number)])))
    assert one_spelling(canonical(once)).to_list() == once.to_list()
