from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.columns.lookup import Counts, Lookup

_TABLE = {"3": 10, "-1": 11, "x": 12, "true": 13, "2.5": 14, "03": 15, str(2**63 - 1): 16}


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (pl.Series([3, -1, 4, None]), [10, 11, 0, 1]),
        (pl.Series([3, 4], dtype=pl.UInt8), [10, 0]),
        (pl.Series([2**63 - 1, -(2**63)], dtype=pl.Int64), [16, 0]),
        (pl.Series([2**63 - 1, 2**64 - 1], dtype=pl.UInt64), [16, 0]),
        (pl.Series([3.0, 2.5, float("nan"), None, float("inf")]), [10, 14, 1, 1, 0]),
        (pl.Series(["x", "03", "3", "y", None]), [12, 15, 10, 0, 1]),
        (pl.Series([True, False, None]), [13, 0, 1]),
        (pl.Series([None, None]), [1, 1]),
        (pl.Series([], dtype=pl.Int64), []),
        (pl.Series([], dtype=pl.String), []),
        (pl.Series(["x", "3"], dtype=pl.Categorical), [12, 10]),
    ],
)
def test_codes_of_every_type(values, codes):
    assert Lookup(_TABLE, null=1, unknown=0).codes(values).tolist() == codes


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50))), st.sets(st.integers(-50, 50)))
def test_integers_and_their_texts_have_the_same_codes(values, known):
    lookup = Lookup({str(k): i for i, k in enumerate(sorted(known), 2)}, null=1, unknown=0)
    integers = pl.Series(values, dtype=pl.Int64)
    assert lookup.codes(integers).tolist() == lookup.codes(integers.cast(pl.String)).tolist()


def test_counts_are_ranked_by_count_then_text_across_chunks_and_types():
    counts = Counts()
    for chunk in (pl.Series(["b", "a", None, "z"]), pl.Series([2, 2, 2]), pl.Series([2.0, None])):
        counts.update(chunk)
    counts.update(pl.Series(["b", "skip", "a"]))
    ranked = counts.ranked(without=["skip"])
    assert list(ranked.items()) == [("2", 4), ("a", 2), ("b", 2), ("z", 1)]


def test_small_integers_are_looked_up_in_a_table_with_the_same_codes(monkeypatch) -> None:
    table = {"7": 2, "0": 3, "1e3": 4, "x": 5, "42": 1}
    low, high = -(2**63), 2**63 - 1
    values = pl.Series([7, 0, 1000, 999, 1001, 42, -1, -2, low, low + 1, high, high - 1, None])
    codes = Lookup(table, null=1, unknown=0).codes(values).tolist()
    assert codes == [2, 3, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    monkeypatch.setattr("recsys_mtl.columns.lookup._DENSE_LEAST", -(10**6))
    assert Lookup(table, null=1, unknown=0).codes(values).tolist() == codes


def test_counts_are_those_of_the_texts_whatever_the_types_of_chunks() -> None:
    """Integers and texts are kept as they are until the end; a change of the type ends that."""
    chunks = [
        pl.Series([1, 2, 2, None]),
        pl.Series([2, 3], dtype=pl.Int8),
        pl.Series(["2", " 3 ", "", "a", None, "4.0"]),
        pl.Series([3.0, 0.5, float("nan")]),
        pl.Series([3, 4], dtype=pl.UInt32),
        pl.Series([4] * 9, dtype=pl.UInt32),
    ]
    counts, weighted = Counts(), Counts()
    for chunk in chunks:
        counts.update(chunk)
        weighted.update(chunk, np.ones(len(chunk)))
    expected = {"4": 11.0, "2": 4.0, "3": 4.0, "0.5": 1.0, "1": 1.0, "a": 1.0}
    assert counts.ranked(without=()) == weighted.ranked(without=()) == expected
    assert list(counts.ranked(without=("2",), least=2)) == ["4", "3"]
    assert counts.rows_of(["a", "4"]) == [1, 11]
    assert counts.share_seen_once == weighted.share_seen_once == 3 / 22
    counts.update(pl.Series(["a"]))
    assert counts.rows_of(["a"]) == [2]
