from __future__ import annotations

import json

import numpy as np

from recsys_mtl.scoring.tally import Tally
from recsys_mtl.serving.reference import Key

A: Key = ("feature", "a")
B: Key = ("score", "b")


def test_counts_add_up() -> None:
    first = Tally(3, {A: np.array([1, 2]), B: np.array([3, 0, 0])})
    second = Tally(4, {A: np.array([4, 0]), B: np.array([1, 1, 2])})
    total = sum([first, second], Tally())
    assert total.rows == 7
    assert {key: c.tolist() for key, c in total.counts.items()} == {A: [5, 2], B: [4, 1, 2]}


def test_json_restores() -> None:
    tally = Tally(3, {A: np.array([1, 2]), B: np.array([3, 0, 0])})
    restored = Tally.from_json(json.loads(json.dumps(tally.to_json())))
    assert restored.to_json() == tally.to_json()
    assert restored.counts.keys() == {A, B}
