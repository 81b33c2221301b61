"""Three nights with a real store, and the same again."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from pipelines.nightly import nightly
from recsys_mtl.cli.script import run_script
from recsys_mtl.tracking.registry import Registry
from tests.proof import without_proof
from tests.toy import toy_rows

pytestmark = pytest.mark.slow  # trainings, MLflow


def test_a_night_starts_from_the_champion(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Today's rows have a new city; the champion has lost no id that it knew."""
    gate, labelled = toy.folder / "gate.yaml", toy.folder / "labelled.parquet"
    gate.write_text("{min_rows: 20, resamples: 200, calibration: 5.0, worst: 1.0, mean: -1.0}")
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(toy.folder / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{toy.folder}/mlflow.db")
    toy_rows(300, seed=3).write_parquet(labelled)
    new = toy_rows(400, seed=4).with_columns(pl.col("city").replace("bern", "kyiv"))
    new.write_parquet(toy.folder / "today.parquet")

    def night(name: str, data: str) -> tuple[int, list[str]]:
        options = ["tracking.enabled=true", f"data.path={data}"]
        words = [str(toy.folder / "toy.yaml"), "--model", "shop", "--rows", str(labelled), "--warm"]
        words += [word for option in options for word in ("--set", option)]
        words += ["--labelled", str(labelled), "--gate", str(gate), "--night", name]
        code = run_script(nightly, [*words, "--out", str(toy.folder / "nights"), "--drift", "99"])
        return code, capsys.readouterr().out.splitlines()

    assert night("1", "toy.parquet")[0] == 0
    without_proof(monkeypatch)
    result = json.loads((toy.folder / "nights/1/run/result.json").read_text())
    assert "warm_start" not in result
    assert night("2", "today.parquet")[0] == 0
    start = json.loads((toy.folder / "nights/2/run/result.json").read_text())["warm_start"]
    assert (start["name"], start["version"], start["run_id"]) == (
        *("shop", 1, result["mlflow"]["run_id"]),
    )
    assert start["fingerprint"] == result["data"]["fingerprint"]
    assert start["tables"]["city"] == {"rows": 6, "taken": 5, "new": 1, "left": 0}
    assert night("3", "toy.parquet")[0] == 0
    start = json.loads((toy.folder / "nights/3/run/result.json").read_text())["warm_start"]
    assert start["version"] == 2
    assert start["tables"]["city"] == {"rows": 6, "taken": 6, "new": 0, "left": 0}


def test_three_nights(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, gate = f"sqlite:///{toy.folder}/mlflow.db", toy.folder / "gate.yaml"
    gate.write_text("{min_rows: 20, resamples: 200, calibration: 5.0, worst: 0.2}")
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(toy.folder / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    without_proof(monkeypatch)
    toy.rows().with_columns(age=pl.col("age") + 500).write_parquet(toy.folder / "older.parquet")

    def night(name: str, rows: str, *changes: str) -> tuple[int, list[str]]:
        options = [word for change in changes for word in ("--set", change)]
        code = run_script(
            nightly,
            [
                *(str(toy.folder / "toy.yaml"), "--model", "shop", "--rows", rows, *options),
                *("--set", "tracking.enabled=true", "--out", str(toy.folder / "nights")),
                *("--night", name, "--gate", str(gate)),
            ],
        )
        return code, capsys.readouterr().out.splitlines()

    untrained = ("training.optimizer.learning_rate=1e-9", "training.tables.learning_rate=1e-9")
    code, lines = night("1", str(toy.data))
    assert (code, [line.partition(":")[0] for line in lines]) == (
        *(0, ["train", "register", "promote", "score"]),
    )
    assert "first champion" in lines[2]
    code, lines = night("2", str(toy.data), *untrained)
    assert code == 3
    assert lines[2].startswith("promote: rejected: ")
    assert lines[3] == "score: 500 rows by models:/shop/1"
    before = [version.number for version in Registry(uri).versions("shop")]
    assert night("2", str(toy.data), *untrained) == (3, lines)
    assert [version.number for version in Registry(uri).versions("shop")] == before == [2, 1]
    code, lines = night("3", str(toy.folder / "older.parquet"), *untrained)
    assert code == 4
    assert "feature age" in lines[3].partition("; drifted: ")[2].split(", ")
    assert pl.read_parquet(toy.folder / "nights/3/scores/*.parquet").height == 500
