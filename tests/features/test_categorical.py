from __future__ import annotations

import logging

import polars as pl
import pytest

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.features import CategoricalConfig
from recsys_mtl.errors import UserError
from recsys_mtl.features.categorical import CategoricalFeature
from recsys_mtl.features.table import set_default_dim


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


@pytest.mark.parametrize(
    ("own", "default", "dim"), [(None, "auto", 8), (None, 20, 20), (5, "auto", 5), ("auto", 20, 8)]
)
def test_the_default_width_may_change_after_the_fit(own, default, dim):
    section = CategoricalConfig(kind="categorical", dim=own)
    feature = CategoricalFeature.of("city", section, default_dim=16)
    feature.update(pl.Series([*"abcdefgh"]), Rows(0, 8))
    feature.finish()
    assert feature.dim == {None: 16, "auto": 8}.get(own, own)
    set_default_dim([feature], {"city": section}, default)
    assert feature.dim == dim


def test_lists_are_refused():
    feature = CategoricalFeature("city", 5, Vocabulary([]))
    with pytest.raises(UserError, match=r"column 'city'.*categorical_list"):
        feature.update(pl.Series([["a"]]), Rows(0, 1))
    with pytest.raises(UserError, match="column 'city'"):
        feature.encode(pl.Series([["a"]]), Rows(0, 1))
