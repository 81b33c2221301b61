from __future__ import annotations

import logging

import polars as pl
import pytest

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.errors import UserError
from recsys_mtl.features.categorical import CategoricalFeature


def test_rows_of_the_table():
    feature = CategoricalFeature("city", 5, Vocabulary([]))
    feature.update(pl.Series(["b", "a", "b"]), Rows(0, 3))
    feature.finish()
    assert feature.spec.tables == (TableSpec("city", 4, 5),)
    assert feature.encode(pl.Series(["a", "b", "?", None]), Rows(0, 4)).tolist() == [3, 2, 0, 1]


def test_the_width_by_the_number_of_values(caplog):
    feature = CategoricalFeature("city", 0, Vocabulary([], min_count=0))
    feature.update(pl.Series([*map(str, range(200)), *["a"] * 40]), Rows(0, 240))
    with caplog.at_level(logging.INFO):
        feature.finish()
    assert feature.spec.tables == (TableSpec("city", 3, 4),)
    assert "table of 'city': rows 3, dim 4, min_count 2" in caplog.text


def test_lists_are_refused():
    feature = CategoricalFeature("city", 5, Vocabulary([]))
    with pytest.raises(UserError, match=r"column 'city'.*categorical_list"):
        feature.update(pl.Series([["a"]]), Rows(0, 1))
    with pytest.raises(UserError, match="column 'city'"):
        feature.encode(pl.Series([["a"]]), Rows(0, 1))
