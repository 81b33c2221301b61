from __future__ import annotations

import numpy as np
import torch

from recsys_mtl.features.block import Ids, Lists, Numbers


def test_columns_of_arrays_of_one_and_two_dimensions():
    made = Numbers.of({"a": np.array([[1.0, 2], [3, 4]]), "b": np.array([5.0, 6])}, 2)
    assert made.values.tolist() == [[1, 2, 5], [3, 4, 6]]
    assert made["b"].tolist() == [[5], [6]]
    assert made.columns(("a", "b")) is made.values
    assert made.columns(("a",)).tolist() == [[1, 2], [3, 4]]
    assert made.columns(()).shape == (2, 0)


def test_ids_are_bags_of_one():
    made = Ids.of({"a": np.array([1, 2]), "b": np.array([3, 4]), "c": np.array([5, 6])}, 2)
    assert made["b"].tolist() == [3, 4]
    assert [(ids.tolist(), many) for ids, many in made.bags(("b", "c"))] == [
        ([3, 4], None),
        ([5, 6], None),
    ]
    assert made.bags(()) == []


def test_lists_are_bags_of_their_lengths():
    parts = {"a": (np.array([1, 2, 3]), np.array([1, 2])), "b": (np.array([4]), np.array([0, 1]))}
    made = Lists.of(parts, 2)
    ((ids, lengths),) = made.bags(("b",))
    assert ids.tolist() == [4]
    assert lengths.tolist() == [0, 1]
    assert list(made.tensors()) == ["list_lengths", "list_ids.a", "list_ids.b"]
    again = made.with_tensors(made.tensors().values())
    assert torch.equal(again["a"][0], made["a"][0])


def test_without_features_or_rows():
    assert Numbers.of({}, 3).values.shape == Ids.of({}, 3).values.shape == (3, 0)
    assert Numbers.of({}, 3).values.dtype == torch.float32
    assert Ids.of({}, 3).values.dtype == Lists.of({}, 3).lengths.dtype == torch.int64
    assert Numbers.of({"a": np.zeros(0, np.float32)}, 0).values.shape == (0, 1)
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert Lists.of({"a": empty}, 0)["a"][1].shape == (0,)
