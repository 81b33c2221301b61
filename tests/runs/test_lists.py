"""A run with lists and segments: what its result, its evaluation and its page say of them."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from recsys_mtl.config.load import load_config
from recsys_mtl.data.prepare import prepare
from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle.card import card
from recsys_mtl.runs.evaluate import evaluate
from recsys_mtl.runs.train import train
from recsys_mtl.runs.trained import read_trained
from recsys_mtl.serving.bundle import load_bundle
from tests.toy import Toy

LISTS = ("evaluation.groups=customer", "evaluation.segments=[city, home]")


def add_columns(toy: Toy) -> None:
    """Ids that float32 and float64 cannot hold, and a segment that is no feature."""
    rows = toy.rows()
    ids = rows["customer"].cast(pl.Int64) + 2**60
    home = pl.Series("home", np.where(np.arange(rows.height) % 3, "yes", "no"))
    rows.with_columns(ids, home).write_parquet(toy.data)


@pytest.mark.slow  # a training
def test_a_run_in_lists_and_segments(toy: Toy) -> None:
    add_columns(toy)
    config = toy.config(*LISTS, "training.early_stopping.metric=click/gauc")
    result = train(config, toy.run, baselines=["gradient_boosting"])
    click = result["tasks"]["click"]
    assert click["lists"]["column"] == "customer"
    assert click["lists"]["alike"] < click["lists"]["count"] < result["data"]["rows"]["test"]
    assert click["metrics"]["gauc"]["low"] < click["metrics"]["gauc"]["value"]
    assert result["tasks"]["spend"]["metrics"].keys() >= {"ndcg_at_1", "ndcg_at_3"}
    assert "lists" not in result["tasks"]["item"]
    assert result["baselines"]["gradient_boosting"]["click"].keys() == click["metrics"].keys()
    assert result["training"]["best_score"] is not None
    segments = click["segments"]
    rows = result["data"]["rows"]["test"]
    for column in ("city", "home"):
        assert sum(segment["rows"] for segment in segments[column].values()) == rows
        for segment in segments[column].values():
            assert segment["metrics"].keys() == click["metrics"].keys()
    assert segments["city"].keys() == {"bern", "oslo", "rome", "(missing)"}
    again = evaluate(toy.run).numbers["tasks"]
    assert again == json.loads(json.dumps(result["tasks"]))
    predictor = load_bundle(toy.run / "model")
    assert "customer" not in predictor.columns
    result["mlflow"]["run_id"] = ""
    page = card(read_trained(str(toy.run), None), config, name="toy", model_uri="m").markdown()
    assert "gauc" in page
    assert "Segments of the test rows" in page
    without = toy.folder / "without.parquet"
    toy.rows().drop("customer").write_parquet(without)
    with pytest.raises(UserError, match=r"evaluation\.groups: missing column; .*'customer'"):
        evaluate(toy.run, input=str(without))


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_segments_are_those_of_the_rows(toy: Toy, loading: str) -> None:
    add_columns(toy)
    config = toy.config(*LISTS, f"data.loading={loading}")
    prepared = prepare(config)
    test = pl.concat(prepared.splits.frames("test", ["customer", "home"]))
    parts = [batch.keys for batch in prepared.loaders["test"].epoch(0)]
    keys = np.concatenate([part.numpy() for part in parts if part is not None])
    assert len(np.unique(keys[:, 0])) == test["customer"].n_unique()
    names = prepared.preprocessor.keys[2].names  # type: ignore[union-attr]
    assert [names[code] for code in keys[:, 2]] == test["home"].to_list()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("evaluation.segments=[city, city]", "segment 'city' is there twice"),
        ("evaluation.groups=click", "column 'click' is the label of task 'click'"),
        ("training.early_stopping.metric=click/gauc", "no metric of a binary task"),
    ],
)
def test_contradictions(toy: Toy, override: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        load_config(toy.write(toy.document()), [override])
