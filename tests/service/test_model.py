"""A loaded model: its example row, and rows that go together."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_mtl.config.load import config_from_yaml
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.scoring.model import find_model
from recsys_mtl.service.model import LoadedModel
from recsys_mtl.service.request import Rows
from recsys_mtl.serving import Predictor
from recsys_mtl.wiring.network import build_network

CONFIG = """
name: several
data: {path: rows.parquet}
features:
  age: {kind: numeric, null_values: ["?"]}
  visits: {kind: numeric}
  visits_as_id: {kind: categorical, column: visits}
tasks: {click: {kind: binary}}
model: {embedding: {dim: 4, backend: plain}, tower: {hidden: [4]}}
"""


@pytest.fixture(scope="module")
def several() -> LoadedModel:
    """A model that takes text for numbers, of one column by a word, of another by two features."""
    config = config_from_yaml(CONFIG, where="several.yaml")
    rows = pl.DataFrame({"age": ["41", "?", "3"], "visits": [1.0, 2.5, 7.0], "click": [0, 1, 0]})
    fitted = Preprocessor.fit([rows], config.features, config.tasks, weight=None, default_dim=4)
    network = build_network(config, fitted.spec)
    return LoadedModel(Predictor(config, fitted, network), "several", "1")


def test_the_example_is_answered(several: LoadedModel) -> None:
    body = several.rows.example()
    assert body == {"rows": [{"age": 1.5, "visits": 1.5}]}
    (answer,) = several.answers([several.rows.read(json.dumps(body).encode())])
    assert isinstance(answer, bytes)


@pytest.mark.parametrize("count", [1, 40])
def test_whole_numbers_and_others_go_together(several: LoadedModel, count: int) -> None:
    """JSON writes 1.0 as 1; many rows become a column."""
    rows = [{"age": 1, "visits": 1}, {"age": "?", "visits": 2.5}]
    assert_alike(several, rows, count)


@pytest.mark.parametrize("large", [2**60, 2**64 - 1, 10**30])
@pytest.mark.parametrize("count", [1, 40])
def test_large_numbers_are_numbers(several: LoadedModel, count: int, large: int) -> None:
    assert_alike(several, [{"age": 1, "visits": large}, {"age": 2, "visits": 7}], count)


def assert_alike(several: LoadedModel, rows: list[dict[str, Any]], count: int) -> None:
    """Each row has the score that it has alone."""
    (answer,) = several.answers([rows * count])
    assert isinstance(answer, bytes)
    alone = [json.loads(one)[0]["click"] for one in several.answers([[row] for row in rows])]  # type: ignore[arg-type]
    scores = [row["click"] for row in json.loads(answer)]
    assert scores == pytest.approx(alone * count)


def test_a_model_that_refuses_the_example_answers_all_the_same(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = Rows.example
    wrong = {"rows": [{"age": "x"}]}
    monkeypatch.setattr(Rows, "example", lambda self: wrong)
    with caplog.at_level(logging.WARNING):
        model = LoadedModel.load(find_model(bundle))
    assert "not warmed up, the first requests take longer: column" in caplog.text
    (answer,) = model.answers([right(model.rows)["rows"]])
    assert isinstance(answer, bytes)
