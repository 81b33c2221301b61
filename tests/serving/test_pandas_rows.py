from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_series_equal

from recsys_mtl.columns.canonical import canonical
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.errors import UserError
from recsys_mtl.features.categorical import CategoricalFeature
from recsys_mtl.features.categorical_list import CategoricalListFeature
from recsys_mtl.features.numeric import NumericFeature
from recsys_mtl.serving.frames import as_polars
from recsys_mtl.serving.pandas_rows import to_pandas, to_polars
from tests.arrow_columns import COLUMNS

ENCODERS = {
    "numeric": NumericFeature("x", "standardize", sd=1.0),
    "categorical": CategoricalFeature("x", 4, Vocabulary([])),
    "categorical_list": CategoricalListFeature("x", 4, Vocabulary([]), "mean", 5),
}

NUMBER, TEXT, LIST = pl.Float64(), pl.String(), pl.List(pl.String())


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, None],
        [1.0, 2.0, float("nan")],
        pd.array([1, 2, None], dtype="Int64"),
        pd.Series([1, 2, pd.NA], dtype=object),
        pd.Series([1, 2.0, None], dtype=object),
    ],
)
@pytest.mark.parametrize("dtype", [NUMBER, TEXT])
def test_integers_with_missing(values: Any, dtype: pl.DataType) -> None:
    column = to_polars(pd.DataFrame({"a": values}), {"a": dtype})["a"]
    expected = [1.0, 2.0, None] if dtype == NUMBER else ["1", "2", None]
    assert (column if dtype == NUMBER else canonical(column)).to_list() == expected


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["a", None], ["a", None]),
        ([True, None], ["true", None]),
        ([1, "x", True, 2.0, 2.5], ["1", "x", "true", "2", "2.5"]),
        (pd.Categorical(["b", "a"]), ["b", "a"]),
        ([None, None], [None, None]),
        ([2**60 + 1, 5], [str(2**60 + 1), "5"]),
    ],
)
def test_categories_keep_their_text(values: Any, texts: list[str | None]) -> None:
    frame = pd.DataFrame({"a": values}, index=range(7, 7 + len(values)))
    assert canonical(to_polars(frame, {"a": TEXT})["a"]).to_list() == texts


@pytest.mark.parametrize(
    ("values", "lists"),
    [
        ([["a", None], None, []], [["a", None], None, []]),
        ([[1, 2], [], None], [["1", "2"], [], None]),
        ([[1.0, float("nan")], None], [["1", None], None]),
        ([np.array([3, 4]), np.array([])], [["3", "4"], []]),
        ([("a", "b"), [1]], [["a", "b"], ["1"]]),
        ([[0, 0], [0]], [["0", "0"], ["0"]]),
        ([None, None], [None, None]),
        ([[], [None]], [[], [None]]),
    ],
)
def test_lists(values: Any, lists: list[Any]) -> None:
    column = to_polars(pd.DataFrame({"a": values}), {"a": LIST})["a"]
    texts = [None if v is None else canonical(pl.Series(v)).to_list() for v in column.to_list()]
    assert texts == lists
    assert isinstance(column.dtype, pl.List)


def test_an_absent_list_column_is_null_another_stays_absent() -> None:
    frame = pd.DataFrame({"other": [1, 2]})
    assert to_polars(frame, {"a": LIST, "b": TEXT}).to_dict(as_series=False) == {"a": [None, None]}


def test_text_for_a_list_goes_to_the_separator() -> None:
    column = to_polars(pd.DataFrame({"a": ["x|y", None]}), {"a": LIST})["a"]
    assert_series_equal(column, pl.Series("a", ["x|y", None]))


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (["x", "y"], NUMBER, "column 'a': not a number"),
        ([[1], [2]], NUMBER, "column 'a': not a number"),
        ([1.0, "x"], NUMBER, "column 'a': not a number; found 'x' in row 1"),
        ([None, [1]], NUMBER, r"column 'a': not a number; found \[1\] in row 1"),
        ([1, 10**400], NUMBER, "column 'a': not a number; found 1000"),
        ([[1], 2], LIST, "column 'a': not a list; found 2 in row 1"),
        ([[1], [[2]]], LIST, r"column 'a': not a list of single values; found \[\[2\]\]"),
        (["b", ["c"]], TEXT, r"column 'a': not a single value; found \['c'\] in row 1"),
        (["b", {"c": 1}], TEXT, "column 'a': not a single value"),
    ],
)
def test_wrong_values_name_their_column(values: Any, dtype: pl.DataType, message: str) -> None:
    with pytest.raises(UserError, match=message):
        to_polars(pd.DataFrame({"a": values}), {"a": dtype})


def test_to_pandas_keeps_lists_and_text() -> None:
    frame = to_pandas(pl.DataFrame({"a": [["x"], None], "b": ["q", "r"], "c": [1.5, 2.5]}))
    assert frame["a"].to_list() == [["x"], None]
    assert isinstance(frame["a"][0], list)
    assert frame["b"].to_list() == ["q", "r"]
    assert frame["c"].dtype == np.float64


@pytest.mark.filterwarnings("ignore:Series.values returning")  # polars under pandas 3
@pytest.mark.parametrize("stored", ["arrow", "pandas"])
@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_of_arrow_is_read_or_refused_in_one_line(name: str, stored: str) -> None:
    _, column, text = COLUMNS[name]
    if stored == "arrow":
        values = pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([column])))
    else:
        try:
            values = column.to_pandas()
        except (pa.ArrowNotImplementedError, ValueError):
            return  # pandas cannot hold it
    for kind, encoder in ENCODERS.items():
        message = "column 'x'"
        try:
            rows = to_polars(pd.DataFrame({"x": values}), {"x": encoder.dtype})
            encoder.encode(rows["x"], Rows(0, rows.height))
        except UserError as error:
            message = str(error)
        else:
            if kind == "categorical" and text and stored == "arrow":
                assert canonical(rows["x"])[0] == text
        assert message.startswith("column 'x'")
        assert "\n" not in message


ODD: dict[str, Any] = {
    "mixed": np.array([1, "a"], object),
    "complex": np.array([1j, 2]),
    "sparse": pd.arrays.SparseArray([0.0, 1.0]),
    "large": [10**40, 1],
    "classes": pd.Categorical([1, "a"]),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_column_is_named_or_left_out(name: str) -> None:
    frame = pd.DataFrame({"a": [1.5, None], name: ODD[name]})
    with pytest.raises(UserError, match=rf"^column '{name}': cannot be read; .*, or leave it out$"):
        as_polars(frame, "X")
    assert as_polars(frame, "X", {"a": pl.Float64()}, ["a"]).rows() == [(1.5,), (None,)]
    assert as_polars(frame, "X", {}, ["b"]).shape == (2, 0)
    if name in ("mixed", "large"):  # a category's text
        texts = canonical(to_polars(frame, {name: pl.String()})[name])
        assert texts.to_list() == [str(value) for value in ODD[name]]
    else:
        with pytest.raises(UserError, match=f"^column '{name}': "):
            to_polars(frame, {name: pl.String()})


@pytest.mark.parametrize("dtype", ["int64", ">i8", "uint64"])
def test_ids_of_an_array_keep_all_digits(dtype: str) -> None:
    ids = [2**53, 2**53 + 1]
    frame = as_polars(np.array([ids, ids], dtype).T, "X")
    assert frame["x0"].to_list() == frame["x1"].to_list() == ids
    assert as_polars(np.array([[True], [False]]), "X").schema == {"x0": pl.Float64}
