"""Three nights with a real store, and the same again."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipelines.nightly import nightly
from recsys_mtl.cli.script import run_script
from recsys_mtl.tracking.registry import Registry

pytestmark = pytest.mark.slow  # trainings, MLflow


def test_three_nights(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, gate = f"sqlite:///{toy.folder}/mlflow.db", toy.folder / "gate.yaml"
    gate.write_text("{min_rows: 20, resamples: 200, calibration: 5.0, worst: 0.2}")
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(toy.folder / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
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
