from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.data.canonical import canonical, factorize, natural_order, require_category
from recsys_mtl.errors import UserError


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pl.Series([3, -7, None]), ["3", "-7", None]),
        (pl.Series([3.0, -0.0, 2.5, float("nan"), None]), ["3", "0", "2.5", None, None]),
        (pl.Series([0.1, 3.0], dtype=pl.Float32), ["0.1", "3"]),
        (pl.Series([1e20, float("inf")]), ["1e+20", "inf"]),
        (pl.Series([True, False, None]), ["true", "false", None]),
        (pl.Series(["3.0", " a", ""]), ["3.0", " a", ""]),
        (pl.Series(["b", "a", None], dtype=pl.Categorical), ["b", "a", None]),
        (pl.Series([Decimal("3.00"), Decimal("0.50"), Decimal("100.00")]), ["3", "0.5", "100"]),
        (pl.Series([date(2024, 2, 29)]), ["2024-02-29"]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_canonical_text(values, texts):
    assert canonical(values).to_list() == texts


def test_times_have_one_text_whatever_their_unit():
    moment = pl.Series([datetime(2024, 1, 2, 3, 4, 5)])
    assert canonical(moment.dt.cast_time_unit("ms")).to_list() == canonical(moment).to_list()


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53))))
def test_an_integer_has_the_same_text_as_float(numbers):
    integers = pl.Series(numbers, dtype=pl.Int64)
    assert canonical(integers.cast(pl.Float64)).to_list() == canonical(integers).to_list()


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "", "é"]))))
def test_factorize_restores_the_values(values):
    places, distinct = factorize(pl.Series(values, dtype=pl.String))
    assert [distinct[int(i)] for i in places] == values
    assert distinct.n_unique() == len(distinct)


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["10", "9", "-1", "0"], ["-1", "0", "9", "10"]),
        (["grade 10", "grade 2"], ["grade 2", "grade 10"]),
        (["b", "a", "1"], ["1", "a", "b"]),
        (["01", "1"], ["01", "1"]),
    ],
)
def test_natural_order(texts, order):
    assert natural_order(texts) == order


@pytest.mark.parametrize(
    "values", [pl.Series([[1]]), pl.Series([{"a": 1}]), pl.Series([b"x"], dtype=pl.Binary)]
)
def test_types_without_a_text_are_refused(values):
    with pytest.raises(UserError, match="column 'x'"):
        require_category(values, "column 'x'")
