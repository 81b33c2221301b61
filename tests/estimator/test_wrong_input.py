"""Wrong arguments and rows of `MultiTaskModel` are a line each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from recsys_mtl import MultiTaskModel
from recsys_mtl.errors import UserError
from tests.estimator.test_model import FEATURES, TASKS


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "no tasks; expected tasks="),
        ({"tasks": TASKS, "settings": {"trainin": {}}}, "unknown section; found trainin -> did"),
        ({"tasks": ["clik"]}, "no such column; found clik -> did you mean 'click'"),
        (
            {"tasks": {"click": "binray"}},
            "^MultiTaskModel: tasks.click.kind: unknown choice; .* did you mean 'binary'",
        ),
        ({"tasks": {"click": None}}, "^MultiTaskModel: tasks.click: wrong type; expected"),
        ({"tasks": {"click": {"kind": ["binary"]}}}, "^MultiTaskModel: tasks.click.kind: "),
        ({"tasks": TASKS, "settings": {3: {}}}, "unknown section; found 3"),
        ({"tasks": 5}, "no tasks; expected tasks="),
        ({"tasks": ["click"], "features": 5}, "features: no columns; expected columns, or"),
        ({"tasks": TASKS, "settings": ["a"]}, "settings: no sections; expected settings="),
        ({"tasks": TASKS, "settings": {"data": None}}, "settings: no sections; expected settings="),
        ({"tasks": TASKS, "settings": {"training": 5}}, "training: wrong type; expected"),
        (
            {"tasks": TASKS, "seed": -1},
            "seed: no seed; expected a whole number.*found -1",
        ),
        (
            {"tasks": TASKS, "settings": {"data": {"weight": "sample_weight"}}},
            "no row weights; expected sample_weight -> give sample_weight, or leave",
        ),
        ({"tasks": {"item": "retrieval"}}, "features cannot be drafted for such tasks"),
        ({"tasks": ["click"], "features": ["agee"]}, "no such column; found agee -> did you mean"),
        (
            {"tasks": {"click": "binray"}, "features": FEATURES},
            "MultiTaskModel: tasks.click.kind: .* -> did you mean 'binary'",
        ),
        (
            {"tasks": TASKS, "features": FEATURES, "settings": {"training": {"epoch": 3}}},
            "MultiTaskModel: training.epoch: unknown key",
        ),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: dict[str, Any], line: str, rows: pl.DataFrame
) -> None:
    with pytest.raises(UserError, match=line):
        MultiTaskModel(**arguments).fit(rows)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"X": [1, 2]}, "X: not a table; expected a polars, pandas or Arrow table.*found list"),
        (
            {"X": np.zeros(3)},
            r"X: not a table; expected \(R, C\); found \(3,\) -> Reshape your data",
        ),
        ({"X": np.array([["a"]])}, "X: not a table; .*could not convert"),
        ({"X": torch.zeros(3, 2, requires_grad=True)}, "X: not a table; .*requires grad"),
        ({"X": pl.scan_parquet("nowhere.parquet")}, "X: cannot be read; .*nowhere.parquet"),
        ({"y": np.array(3)}, r"y: labels; expected \(R,\) or \(R, T\); found \(\)"),
        ({"sample_weight": ["a"] * 600}, "sample_weight: row weights; expected 600 numbers"),
        ({"sample_weight": np.zeros(600)}, "sample_weight: every weight is zero"),
        ({"y": np.zeros(600)}, "y: labels; expected a column for each of click, spend; found 1"),
        ({"y": {"click": [1]}}, "y: labels; expected 600 rows; found 1"),
        (
            {"y": {"click": [1.0] * 600, "visit": [0] * 600, "month": [3] * 600}},
            "y: columns that no task names; found visit, month -> leave them out, or give them",
        ),
        ({"y": {"click": [7] * 600}}, "y: other values of 'click' than in X -> leave it out of X"),
        ({"y": [[1, "a"], ["b", 2]] * 300}, "y: labels of several types"),
        ({"X": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "X: two columns of one name; found a"),
        ({"sample_weight": [1.0]}, "sample_weight: row weights; expected 600 numbers"),
        ({"sample_weight": 0.5}, r"sample_weight: row weights; .* found shape \(\)"),
    ],
)
def test_wrong_rows_are_one_line(given: dict[str, Any], line: str, rows: pl.DataFrame) -> None:
    with pytest.raises(UserError, match=line):
        MultiTaskModel(TASKS, FEATURES).fit(**({"X": rows} | given))


def test_weights_are_given_once(rows: pl.DataFrame) -> None:
    model = MultiTaskModel(TASKS, settings={"data": {"weight": "importance"}})
    with pytest.raises(UserError, match=r"two weights; found sample_weight and .*importance"):
        model.fit(rows, sample_weight=np.ones(600))
