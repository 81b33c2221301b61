"""The four kinds of label and the weight."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.columns.weight import Weight
from recsys_mtl.errors import UserError
from recsys_mtl.tasks.binary import BinaryLabel
from recsys_mtl.tasks.label import Label
from recsys_mtl.tasks.multiclass import MulticlassLabel
from recsys_mtl.tasks.regression import RegressionLabel
from recsys_mtl.tasks.retrieval import RetrievalLabel

nan = float("nan")


def _fitted(label, *chunks: list) -> Label:
    first = 0
    for chunk in chunks:
        label.update(_series(chunk), Rows(first, len(chunk)))
        first += len(chunk)
    label.finish()
    return label


def _series(values: list) -> pl.Series:
    return pl.Series(values, strict=True)


def _encode(label: Label, values: list) -> np.ndarray:
    encoded = label.encode(_series(values), Rows(0, len(values)))
    assert encoded.dtype == (np.float64 if label.has_items else np.float32)
    return encoded


@pytest.mark.parametrize(
    "values",
    [
        [1, 0, None],
        [1.0, 0.0, nan],
        [True, False, None],
        ["1", "0", None],
        ["true", "False", None],
        ["1.0", "0.0", "n/a"],
    ],
)
def test_binary_values(values):
    label = _fitted(BinaryLabel("y", "click", null_values=["n/a"]), values, values[:1])
    np.testing.assert_array_equal(_encode(label, values), [1, 0, nan])
    assert label.spec == TaskSpec("click", "binary", 1, prior=(2 / 3,))


def test_binary_positive_value():
    label = _fitted(BinaryLabel("y", "churn", "gone", null_values=["?"]), ["gone", "here", "?"])
    np.testing.assert_array_equal(_encode(label, ["gone", "x", None, "?"]), [1, 0, nan, nan])


def test_binary_other_value_is_refused_with_its_row():
    label = BinaryLabel("y", "click")
    label.update(_series([0, 1]), Rows(0, 2))
    with pytest.raises(UserError, match=r"tasks.click: label column 'y'.*found 2 in row 3 "):
        label.update(_series([0, 2]), Rows(2, 2))


def test_multiclass_fits_classes_in_natural_order():
    label = _fitted(MulticlassLabel("y", "band"), ["10", "9", None], ["9", "2", "9"])
    assert label.classes == ["2", "9", "10"]
    assert label.spec == TaskSpec("band", "multiclass", 3, prior=(0.2, 0.6, 0.2))
    np.testing.assert_array_equal(_encode(label, [10, 2, None]), [2, 0, nan])
    np.testing.assert_array_equal(_encode(label, [9.0, nan]), [1, nan])
    with pytest.raises(UserError, match=r"tasks.band.*one of: 2, 9, 10; found '11' in row 1 "):
        _encode(label, ["2", "11"])


def test_multiclass_with_given_classes():
    label = _fitted(
        MulticlassLabel("y", "band", ["b", "a", "z"], null_values=["?"]), ["a", "b", "?"]
    )
    assert label.spec.outputs == 3
    np.testing.assert_allclose(label.spec.prior, [0.4, 0.4, 0.2])
    np.testing.assert_array_equal(_encode(label, ["b", "z", "?"]), [0, 2, nan])
    with pytest.raises(UserError, match=r"label outside its classes.*'c' in row 0 "):
        _fitted(MulticlassLabel("y", "band", ["b", "a"]), ["c", "a"])


@pytest.mark.parametrize("transform", ["standardize", "log1p", "none"])
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_regression_decode_undoes_encode(transform, values):
    label = _fitted(RegressionLabel("y", "spend", transform), values)
    decoded = label.decode(_encode(label, values)[:, None].astype(float), top_k=1)["spend"]
    np.testing.assert_allclose(decoded, values, rtol=1e-4, atol=np.ptp(values) * 1e-4 + 1e-4)


def test_regression_values():
    label = _fitted(RegressionLabel("y", "spend"), [1.0, None, 3.0], [5.0, nan])
    sd = np.std([1.0, 3.0, 5.0])
    np.testing.assert_allclose(_encode(label, [3.0, 5.0, None]), [0, 2 / sd, nan], rtol=1e-6)
    assert label.spec == TaskSpec("spend", "regression", 1, prior=(0.0,))
    assert _fitted(RegressionLabel("y", "s", "none"), [1, 3]).spec.prior == (2.0,)
    assert _encode(_fitted(RegressionLabel("y", "s"), [4, 4]), [4]).tolist() == [0.0]
    masked = _fitted(RegressionLabel("y", "s", "none", null_values=["-1"]), [-1.0, 3.0])
    np.testing.assert_array_equal(_encode(masked, [-1, 3]), [nan, 3])


def test_regression_refuses_what_float32_cannot_hold():
    for value in (float("inf"), 1e39):
        with pytest.raises(UserError, match=r"tasks.s: label column 'y'.*in row 1 "):
            _fitted(RegressionLabel("y", "s"), [0.0, value])


def test_retrieval_items_by_count():
    label = _fitted(RetrievalLabel("y", "next", 8, 2), ["b", "a", "c"], ["c", "a", None])
    assert label.items == ["a", "c"]
    assert label.spec == TaskSpec("next", "retrieval", 8, items=3)
    np.testing.assert_array_equal(_encode(label, ["c", "b", None, "a"]), [2, 0, nan, 1])


def test_decode_gives_both_events_and_the_second_given_the_first():
    label = BinaryLabel("buy", "buy", through="click")
    assert list(label.schema()) == ["buy", "buy_given_click"]
    both, first = np.array([-3.0, -800.0, 2.0]), np.array([-1.0, -790.0, 2.0])
    frame = label.decode(np.stack([both, first], 1), top_k=1)
    expected = [(1 + np.e) / (1 + np.exp(3)), np.exp(-10), 1.0]
    np.testing.assert_allclose(frame["buy_given_click"], expected, rtol=1e-12)
    assert label.decode(both[:, None], top_k=1).columns == ["buy"]


def test_decode_names_probabilities_classes_and_items():
    label = _fitted(BinaryLabel("y", "click"), [0, 1])
    assert label.decode(np.zeros((2, 1)), top_k=1)["click"].to_list() == [0.5, 0.5]
    bands = _fitted(MulticlassLabel("y", "band"), ["low", "high"])
    frame = bands.decode(np.log([[3.0, 1.0], [1.0, 4.0]]), top_k=1)
    assert frame.columns == ["band", "band_probability_high", "band_probability_low"]
    assert frame["band"].to_list() == ["high", "low"]
    np.testing.assert_allclose(frame["band_probability_low"], [0.25, 0.8])
    items = _fitted(RetrievalLabel("y", "next", 8, 9), ["a", "a", "a", "b", "b", "c"])
    frame = items.decode(np.array([[9.0, 1.0, 3.0, 2.0], [9.0, 3.0, 2.0, 1.0]]), top_k=2)
    assert frame["next"].to_list() == [["b", "c"], ["a", "b"]]
    assert frame["next_scores"].to_list() == [[3.0, 2.0], [3.0, 2.0]]
    assert items.decode(np.zeros((0, 4)), top_k=5).height == 0
    assert items.decode(np.zeros((1, 4)), top_k=99)["next"].list.len().to_list() == [3]


_KINDS = [BinaryLabel("y", "t"), MulticlassLabel("y", "t"), RegressionLabel("y", "t")]
_KINDS += [RetrievalLabel("y", "t", 4, 9)]


@pytest.mark.parametrize("label", _KINDS, ids=lambda label: label.kind)
def test_a_label_that_is_never_set_is_refused(label):
    fresh = Label.from_dict(label.to_dict())
    with pytest.raises(UserError, match=r"tasks.t: label column 'y': no label"):
        _fitted(fresh, [None, None])


@pytest.mark.parametrize("label", _KINDS[:2], ids=lambda label: label.kind)
@pytest.mark.parametrize("value", [0, 1])
def test_a_label_of_one_class_is_refused(label, value):
    fresh = Label.from_dict(label.to_dict())
    with pytest.raises(UserError, match=f"only one class.*only '{value}'"):
        _fitted(fresh, [value, None, value])


@pytest.mark.parametrize("label", _KINDS, ids=lambda label: label.kind)
def test_state_round_trips_exactly(label):
    fitted = _fitted(Label.from_dict(label.to_dict()), [0, 1, 1])
    assert Label.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize("label", _KINDS[:2] + _KINDS[3:], ids=lambda label: label.kind)
def test_lists_are_no_labels(label):
    with pytest.raises(UserError, match=r"tasks.t: label column 'y'"):
        _fitted(Label.from_dict(label.to_dict()), [[1]])


def test_weights():
    weight = Weight("w")
    weight.update(pl.Series([0, 1, 2]), Rows(0, 3))
    weight.finish()
    assert weight.encode(pl.Series([0.5, 0.0]), Rows(0, 2)).tolist() == [0.5, 0.0]
    for bad in (-1.0, None, nan, float("inf"), 1e39):
        with pytest.raises(UserError, match=r"data.weight: column 'w'.*in row 6 "):
            weight.encode(pl.Series([1.0, bad]), Rows(5, 2))


def test_weights_that_are_all_0_are_refused():
    weight = Weight("w")
    weight.update(pl.Series([0, 0]), Rows(0, 2))
    with pytest.raises(UserError, match="all weights are 0"):
        weight.finish()


@pytest.mark.parametrize("positive", ["yes", ["yes", "maybe"], ["maybe", "yes", "1"]])
def test_positive_is_a_value_or_a_set_of_them(positive):
    label = _fitted(BinaryLabel("y", "click", positive=positive), ["yes", "no", " maybe", None])
    several = isinstance(positive, list)
    np.testing.assert_array_equal(
        _encode(label, ["yes", " yes ", "maybe", "no", "", None]), [1, 1, several, 0, nan, nan]
    )
    restored = Label.from_dict(json.loads(json.dumps(label.to_dict())))
    assert restored.events == label.events
    np.testing.assert_array_equal(_encode(restored, ["maybe"]), [several])


def test_positive_that_matches_no_row_lists_what_there_is():
    label = BinaryLabel("y", "click", positive=["Yess"], null_values=["?"])
    chunks = [["Yes", "no", "?"], ["no", "no", None]]
    expected = r"matches no labelled.*expected 'Yess'; found 'no' \(3\), 'Yes' \(1\) -> .*'Yes'\?"
    with pytest.raises(UserError, match=expected):
        _fitted(label, *chunks)
    many = BinaryLabel("y", "click", positive="x")
    with pytest.raises(UserError, match=r"'v0' \(1\), .*, …"):
        _fitted(many, [f"v{i}" for i in range(30)])


def test_words_that_mean_unlabelled_in_a_number():
    label = _fitted(RegressionLabel("y", "spend", "none", null_values=["?", "-1"]), ["1", "2", "?"])
    np.testing.assert_array_equal(_encode(label, ["3", "?", "-1.0", ""]), [3, nan, nan, nan])
    np.testing.assert_array_equal(_encode(label, [3.0, -1.0, None]), [3, nan, nan])
