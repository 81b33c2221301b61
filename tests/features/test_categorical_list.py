from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.errors import UserError
from recsys_mtl.features.categorical_list import CategoricalListFeature

_TRAIN = pl.Series([["b", "b"], ["a", "b", "c"], [], None, [None]])


def _fitted(values=_TRAIN, *, max_length=50, separator=None) -> CategoricalListFeature:
    feature = CategoricalListFeature("seen", 4, Vocabulary([]), "mean", max_length, separator)
    feature.update(values, Rows(0, len(values)))
    feature.finish()
    return feature


def _encode(feature: CategoricalListFeature, values: pl.Series):
    return feature.encode(values, Rows(0, len(values)))


def test_lists_one_after_another_with_their_lengths():
    feature = _fitted()
    assert feature.spec.tables == (TableSpec("seen", 5, 4, "mean"),)
    ids, lengths = _encode(feature, pl.Series([["c", None], [], None, ["b", "?"]]))
    assert ids.tolist() == [4, 1, 2, 0]
    assert lengths.tolist() == [2, 0, 0, 2]


def test_long_lists_keep_their_first_values_in_fit_and_encode():
    feature = _fitted(max_length=2)
    assert feature.coder.values == ["b", "a"]
    ids, lengths = _encode(feature, pl.Series([["a", "b", "b", "b"], ["b"]]))
    assert ids.tolist() == [3, 2, 2]
    assert lengths.tolist() == [2, 1]


def test_text_is_split_and_empty_pieces_left_out():
    feature = _fitted(pl.Series(["b|b|a", "a|b|", "", None]), separator="|")
    ids, lengths = _encode(feature, pl.Series(["a|b", "", None, "|b"]))
    assert ids.tolist() == [3, 2, 2]
    assert lengths.tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([[1, 2], [2, 2]]),
        pl.Series([[1, 2], [2, 2]], dtype=pl.Array(pl.Int64, 2)),
        pl.Series([["1", "2"], ["2", "2"]]),
    ],
)
def test_lists_of_any_type(values):
    ids, lengths = _encode(_fitted(pl.Series([[2, 2, 1]])), values)
    assert ids.tolist() == [3, 2, 2, 2]
    assert lengths.tolist() == [2, 2]


def test_a_column_of_null_is_empty_lists():
    ids, lengths = _encode(_fitted(), pl.Series([None, None]))
    assert ids.tolist() == []
    assert lengths.tolist() == [0, 0]


@given(st.lists(st.one_of(st.none(), st.lists(st.sampled_from(["a", "b", "?", None]), max_size=6))))
def test_encoding_equals_the_row_by_row_one(lists):
    feature = _fitted(max_length=3)
    ids, lengths = _encode(feature, pl.Series(lists, dtype=pl.List(pl.String)))
    rows = {"b": 2, "a": 3, "c": 4, None: 1}
    expected = [[rows.get(v, 0) for v in (row or [])[:3]] for row in lists]
    assert lengths.tolist() == [len(row) for row in expected]
    assert ids.tolist() == [row for lst in expected for row in lst]
    assert ids.dtype == lengths.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (pl.Series(["a|b"]), None),
        (pl.Series([3]), "|"),
        (pl.Series([[[1]]]), None),
        (pl.Series([{"a": 1}]), None),
    ],
)
def test_what_is_no_list_is_refused(values, separator):
    with pytest.raises(UserError, match="column 'seen'"):
        _fitted(values, separator=separator)


@pytest.mark.parametrize("seed", range(20))
def test_made_up_rows_have_an_empty_list_and_a_long_one(seed):
    """An export is traced with them: a list of one entry in all would fix that number."""
    spec, generator = _fitted().spec, torch.Generator().manual_seed(seed)
    ids, lengths = CategoricalListFeature.random_part(spec, 3, 5, generator)
    assert lengths[[0, 2]].tolist() == [0, 5]
    assert len(ids) == lengths.sum()
    assert 0 <= ids.min() <= ids.max() < 5
    _, alone = CategoricalListFeature.random_part(spec, 1, 5, generator)
    assert alone.tolist() == [0]
