"""Shared tables, lists and sequences from the raw rows to predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_mtl.config import Config
from recsys_mtl.runs.train import train
from recsys_mtl.runs.validate import validate
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.export import save_export
from recsys_mtl.serving.pandas_rows import to_pandas, to_polars
from tests.toy import Toy

pytestmark = pytest.mark.slow  # trainings
CITIES = ["bern", "oslo", "rome"]
SEQUENCE: dict[str, Any] = {
    "kind": "sequence",
    "table": "city",
    "max_length": 4,
    "attributes": {"ago": {"kind": "numeric"}, "how": {"kind": "categorical", "dim": 8}},
}
ENCODERS: dict[str, dict[str, Any]] = {
    "mean": {},
    "din": {"target": "city", "encoder": "din"},
    "mha": {"target": "city", "encoder": "mha"},
    "transformer": {"target": "city", "encoder": {"name": "transformer", "layers": 1}},
}


@pytest.fixture
def rows(toy: Toy) -> pl.DataFrame:
    """The toy's rows with a history of cities, newest last."""
    rng, frame = np.random.default_rng(0), toy.rows()
    counts = rng.integers(0, 7, frame.height)
    went = [None if i % 9 == 0 else rng.choice(CITIES, n).tolist() for i, n in enumerate(counts)]
    frame = frame.with_columns(went=pl.Series(went, dtype=pl.List(pl.String)))
    frame = frame.with_columns(
        ago=pl.col("went").list.eval(pl.int_range(pl.len(), 0, -1).cast(pl.Float64)),
        how=pl.col("went").list.eval(pl.element().str.slice(0, 1)),
    )
    frame.write_parquet(toy.data)
    return frame


def config_of(toy: Toy, encoder: str, **sections: Any) -> Config:
    document = toy.document()
    document["features"]["seen"] |= {"table": "city", "share_of": "went", "unknown_dropout": 0.2}
    document["features"]["went"] = SEQUENCE | ENCODERS[encoder]
    return Config.model_validate(document | sections)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_is_trained_saved_loaded_predicted_and_exported(
    toy: Toy, rows: pl.DataFrame, tmp_path: Path, encoder: str
) -> None:
    config = config_of(toy, encoder, combiner={"name": "cagt"})
    described = validate(config)["features"]
    assert described["went"]["table"] == described["seen"]["table"]
    assert described["went"]["table"]["name"] == "city"
    assert "went.ago" in described
    train(config, toy.run)
    predictor = load_bundle(toy.run / "model")
    names = [n for n in predictor.network.state_dict() if "embedding_bags" in n]
    assert {n.split(".")[2] for n in names} == {"t_city", "t_went%2Ehow"}
    predicted = predictor.predict(rows)
    alone = pl.concat([predictor.predict(rows[i : i + 1]) for i in range(12)])
    assert_frame_equal(alone, predicted.head(12), abs_tol=1e-5)
    served = to_polars(to_pandas(rows.head(20)), predictor.schema())
    assert_frame_equal(predictor.predict(served), predicted.head(20), abs_tol=1e-5)
    other = rows.with_columns(went=pl.col("went").list.reverse())
    assert not predicted["click"].equals(predictor.predict(other)["click"]) or encoder == "mean"
    checked = save_export(toy.run / "model", tmp_path / "export")["checked"]
    assert checked["largest_difference"] < 1e-6


@pytest.mark.parametrize("backend", ["plain", "torchrec"])
def test_streamed_rows_train_too(toy: Toy, rows: pl.DataFrame, backend: str) -> None:
    document = toy.document()
    model = document["model"] | {"embedding": {"dim": 4, "backend": backend}}
    config = config_of(toy, "din", model=model, data=document["data"] | {"loading": "stream"})
    train(config, toy.run)
    predicted = load_bundle(toy.run / "model").predict(rows)
    assert predicted["click"].is_finite().all()


@pytest.mark.parametrize("name", ["aitm", "pepnet", "home", "stem"])
def test_other_architectures_read_them_too(toy: Toy, rows: pl.DataFrame, name: str) -> None:
    model = toy.document()["model"] | {"architecture": name, "members": 2}
    train(config_of(toy, "din", model=model, combiner={"name": "cagt"}), toy.run)
    predictor = load_bundle(toy.run / "model")
    assert predictor.predict(rows)["click"].is_finite().all()
    tables = {n.split(".")[2] for n in predictor.network.state_dict() if "embedding_bags" in n}
    assert ("t_city@buy" in tables) == (name == "stem")
    assert "t_went%2Ehow@buy" not in tables
