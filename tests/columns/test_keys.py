from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys_mtl.columns.keys import MISSING, NO_GROUP, OTHER, GroupKey, SegmentKey, key_from_dict
from recsys_mtl.columns.rows import Rows
from recsys_mtl.errors import UserError


def rows(count: int) -> Rows:
    return Rows.of(pl.DataFrame({"x": range(count)}))


@pytest.mark.parametrize(
    "values", [[2**53, 2**53 + 1, None, 2**53, -1], ["a", "b", None, "a", "A"]]
)
def test_equal_ids_are_one_list_and_no_others(values: list[object]) -> None:
    """2^53 + 1 is no float64."""
    key = GroupKey("user")
    codes = key.encode(pl.Series(values))
    assert codes[2] == NO_GROUP
    assert len(np.unique(codes)) == 4
    assert codes[0] == codes[3]
    assert (np.delete(codes, 2) >= 0).all()
    assert key_from_dict(key.to_dict()) == key


def test_text_and_integers_of_one_spelling_are_one_list() -> None:
    key = GroupKey("user")
    assert (key.encode(pl.Series([7, 8])) == key.encode(pl.Series(["7", "8"]))).all()


def test_segments_are_the_frequent_training_values() -> None:
    key = SegmentKey("tab")
    key.update(pl.Series([1, 1, 0, None, 1, 0, 4]), rows(7))
    key.finish()
    assert key.names == ["1", "0", "4", OTHER, MISSING]
    assert key.encode(pl.Series([0, 1, 9, None])).tolist() == [1, 0, 3, 4]
    assert key_from_dict(key.to_dict()).names == key.names


def test_lists_of_values_are_refused() -> None:
    with pytest.raises(UserError, match=r"evaluation\.groups: column 'user'"):
        GroupKey("user").encode(pl.Series([[1], [2]]))
