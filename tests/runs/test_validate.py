from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.config import config_hash
from recsys_mtl.errors import UserError
from recsys_mtl.runs.validate import validate
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.wiring import trainer

Trained = tuple[Any, dict[str, Any]]


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "Trainer", lambda *args, **options: pytest.fail("it trains"))


def test_it_describes_what_would_be_trained(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    summary = validate(toy.config())
    assert summary["rows"] == result["data"]["rows"]
    assert summary["fingerprint"] == result["data"]["fingerprint"]
    assert summary["config_hash"] == config_hash(toy.config())
    assert summary["warnings"] == []
    assert summary["tasks"] == {name: task["kind"] for name, task in result["tasks"].items()}
    network = load_bundle(toy.run / "model").network
    assert summary["parameters"] == sum(p.numel() for p in network.dense_parameters())
    assert summary["table_rows"] == (3 + 2) + (9 + 2)  # values, and a row each for unknown and null
    assert main(["validate", str(toy.folder / "toy.yaml"), "--out", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["job"] == "validate"
    assert summary.items() <= stored.items()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_torchrec_is_not_started(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes longer than all the rest; the network has the same size without it."""
    obstacle = "recsys_mtl.model.embeddings_backend._torchrec_obstacle"
    monkeypatch.setattr(obstacle, lambda tables: pytest.fail("it is imported"))
    assert validate(toy.config("model.embedding.backend=auto"))["parameters"]
    with pytest.raises(pytest.fail.Exception):
        validate(toy.config("model.embedding.backend=torchrec"))


def test_the_command_prints_and_warns(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = toy.rows()
    leak = rows["click"] + 0.1 * np.random.default_rng(0).random(rows.height)
    rows.with_columns(leak.alias("age")).write_parquet(toy.data)
    before = set(toy.folder.rglob("*"))
    assert main(["validate", str(toy.folder / "toy.yaml")]) == 0
    out = capsys.readouterr().out
    assert "toy.yaml: valid; rows: dropped 0, train 263" in out
    assert "parameters" in out
    (warning,) = (line for line in out.splitlines() if line.startswith("warning: "))
    assert "age" in warning
    assert "click" in warning
    assert set(toy.folder.rglob("*")) == before


@pytest.mark.parametrize("loading", ["memory", "stream"])
@pytest.mark.parametrize("row", [0, 499])
def test_a_wrong_label_in_any_split_is_found(toy: Any, loading: str, row: int) -> None:
    """Sorted by time: the first row is a training row, the last one a test row."""
    here = pl.int_range(pl.len()) == row
    wrong = pl.when(here).then(pl.lit("huge")).otherwise("band").alias("band")
    toy.rows().sort("day").with_columns(wrong).write_parquet(toy.data)
    split = ('data.ignore=["customer"]', "data.split={kind: time, column: day}")
    with pytest.raises(UserError, match=f"label outside its classes.*'huge' in row {row} "):
        validate(toy.config(f"data.loading={loading}", *split))


def test_names_in_the_model_are_checked(toy: Any) -> None:
    with pytest.raises(UserError, match=r"shared\.7"):
        validate(toy.config("model.gates.preferred={click: [shared.7]}"))


def test_two_tasks_that_predict_one_column_are_reported_before_training(toy: Any) -> None:
    config = toy.config()
    other = config.tasks["click"].model_copy(update={"label": "click"})
    tasks = {**config.tasks, "band_probability_low": other}
    with pytest.raises(UserError, match=r"tasks\.band and tasks\.band_probability_low"):
        validate(config.model_copy(update={"tasks": tasks}))
