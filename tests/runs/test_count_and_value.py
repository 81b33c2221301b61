"""A run with tasks of kinds count and customer_value, from rows to scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.boosting import default_name
from recsys_mtl.config import load_config
from recsys_mtl.errors import UserError
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.export import save_export
from tests.marks import slow_except
from tests.toy import toy_rows

TASKS = {
    "click": {"kind": "binary"},
    "orders": {"kind": "count"},
    "value": {"kind": "customer_value"},
}


@pytest.fixture
def shop(toy: Any) -> Any:
    """The toy's rows, with labels whose mean depends on the age; some are null."""
    rows = toy_rows(1500).drop("buy", "band", "spend", "item")
    rng = np.random.default_rng(5)
    signal = (rows["age"].fill_null(40.0).to_numpy() - 40) / 10
    orders = rng.poisson(np.exp(signal - 0.5)).astype(float)
    value = np.where(orders > 0, np.exp(2 + signal + rng.normal(size=len(rows)) / 2), 0.0)
    known = pl.Series(rng.random(len(rows)) < 0.9)
    rows.with_columns(
        pl.when(known).then(pl.Series(label)).alias(name)
        for name, label in {"orders": orders, "value": value}.items()
    ).write_parquet(toy.data)
    return toy


def config_of(shop: Any, *overrides: str) -> Any:
    document = shop.document()
    document["tasks"] = TASKS
    return load_config(shop.write(document), ["training.epochs=2", *overrides])


@pytest.mark.slow
def test_from_rows_to_scores(shop: Any) -> None:
    often = "training.epochs=12", "training.optimizer.learning_rate=0.005"
    result = train(config_of(shop, *often), shop.run, baselines=True)
    orders, value = (result["tasks"][name]["metrics"] for name in ("orders", "value"))
    assert orders["poisson_d2"]["value"] > 0.1
    assert value["normalized_gini"]["value"] > 0.2
    assert value["auc"]["value"] > 0.6
    for metrics in (orders, value):
        assert 0.7 < metrics["calibration_ratio"]["value"] < 1.4
    constant, boosting = (result["baselines"][n] for n in ("constant", default_name()))
    assert constant["orders"]["poisson_d2"]["value"] == pytest.approx(0, abs=0.02)
    assert constant["value"]["auc"]["value"] == 0.5
    assert boosting["orders"]["poisson_d2"]["value"] > 0.1
    assert boosting["value"]["normalized_gini"]["value"] > 0.2
    models = result["boosting"][default_name()]["models"]
    assert [len(models[name]) for name in ("orders", "value")] == [1, 2]
    model = load_bundle(shop.run / "model")
    predicted = model.predict(shop.rows())
    assert predicted.columns == ["click", "orders", "value", "value_probability"]
    assert predicted.select((pl.all() >= 0).all()).row(0) == (True,) * 4
    assert predicted["value_probability"].max() <= 1
    csv = pl.read_csv(shop.rows().drop("seen").write_csv().encode()).with_columns(
        seen=shop.rows()["seen"]
    )
    assert model.predict(csv).equals(predicted)


@pytest.mark.slow
def test_the_exported_program_predicts_the_same(shop: Any, tmp_path: Path) -> None:
    train(config_of(shop, "training.epochs=1"), shop.run)
    save_export(shop.run / "model", tmp_path / "exported")  # compares before it ends
    assert (tmp_path / "exported").is_dir()


CHOICES = {
    "borrow": [
        "adatt.mechanism=borrow",
        "adatt.borrow.donors=uniform",
        "tasks.value.label_share=0.1",
        "training.epochs=2",
    ],
    "published": ["adatt.mechanism=loss"],
    "gradient": ["adatt.mechanism=gradient"],
    "cagt": ["combiner={name: cagt}"],
    "famo": ["balancing={name: famo}"],
    "stch, transfer": [
        "balancing={name: stch}",
        "model.logit_transfer=[{source: value, target: orders}]",
    ],
    "bf16": ["training.precision=bf16"],
    "watched": ["training.early_stopping.metric=value/normalized_gini"],
}


@pytest.mark.parametrize("name", slow_except(["cagt"], CHOICES))
def test_it_trains_with(name: str, shop: Any) -> None:
    early = ["adatt.warmup_epochs=1"] if "adatt" in CHOICES[name][0] else []
    result = train(config_of(shop, *CHOICES[name], *early), shop.run)
    values = [m["value"] for task in result["tasks"].values() for m in task["metrics"].values()]
    assert all(isinstance(value, float) and math.isfinite(value) for value in values)
    assert result["training"]["skipped_batches"] == 0
    if name == "borrow":
        assert result["training"]["epochs"][1]["adatt"]["borrowed"].keys() == {"value"}


def test_a_negative_amount_is_one_line(shop: Any) -> None:
    rows = shop.rows().with_columns(value=pl.col("value") - 1)
    rows.write_parquet(shop.data)
    with pytest.raises(UserError, match=r"tasks\.value: label column 'value': a negative label"):
        train(config_of(shop), shop.run)
