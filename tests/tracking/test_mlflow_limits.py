from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from recsys_mtl.tracking.mlflow_limits import batches, cut, key, keyed


@given(st.text())
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    made = key(name)
    _validate_metric_name(made)
    assert 1 <= len(made) <= 250
    assert key(made) == made


@given(st.sets(st.text(st.sampled_from("a/.?*"), min_size=1), max_size=8))
def test_names_never_share_a_key(names: set[str]) -> None:
    made = keyed({name: name for name in names})
    assert sorted(made.values()) == sorted(names)
    for name in made:
        _validate_metric_name(name)


def test_a_name_keeps_its_key_unless_another_has_it() -> None:
    assert keyed({"a": 1, "b?": 2}) == {"a": 1, "b_": 2}
    assert next(iter(keyed({"b_": 1, "b?": 2, "b*": 3}))) == "b_"


def test_a_long_name_is_cut_before_its_slash() -> None:
    assert key("a" * 249 + "/b") == "a" * 249


def test_cut() -> None:
    assert cut("x" * 6000) == "x" * 6000
    assert cut("x" * 6001) == "x" * 5999 + "…"


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_batches(count: int) -> None:
    parts = list(batches(list(range(count)), 3))
    assert [item for part in parts for item in part] == list(range(count))
    assert all(1 <= len(part) <= 3 for part in parts)
