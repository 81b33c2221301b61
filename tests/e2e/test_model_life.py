"""The life of a model after training, on a real MLflow server, by the commands that people type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_mtl.serving import load_bundle
from recsys_mtl.serving.exported import load_export

pytestmark = pytest.mark.slow

TASKS = {"click", "conversion", "churn", "segment", "value"}


def test_the_better_is_promoted_and_the_worse_rejected(shop: Any) -> None:
    assert shop.decisions == [(1, "promoted"), (2, "promoted"), (2, "rejected")]


def test_a_rollback_and_its_undoing(shop: Any) -> None:
    assert (shop.alias("champion"), shop.alias("previous")) == (2, 1)
    shop.do("rollback", "shop")
    assert (shop.alias("champion"), shop.alias("previous")) == (1, 2)
    shop.do("rollback", "shop")
    assert (shop.alias("champion"), shop.alias("previous")) == (2, 1)


def test_runs_are_compared_and_ranked(shop: Any, tmp_path: Path) -> None:
    shop.do("compare", shop.folder / "run-1", shop.folder / "run-2", "--out", tmp_path / "compared")
    shop.do("leaderboard", "--metric", "click/auc", "--out", tmp_path / "ranked")
    assert "run" in (tmp_path / "compared/result.json").read_text()
    ranked = (tmp_path / "ranked/result.json").read_text()
    assert "champion" in ranked


def test_the_champion_scores_files(shop: Any, tmp_path: Path) -> None:
    rows = shop.rows(1_000)
    rows.write_parquet(tmp_path / "rows.parquet")
    shop.do("predict", "--model", "models:/shop@champion", "--input", tmp_path / "rows.parquet",
       "--output", tmp_path / "scores", "--keep", "row_id", "--rows-per-file", "400")  # fmt: skip
    names = {path.name for path in (tmp_path / "scores").iterdir()}
    assert names == {*(f"part-0000{n}.parquet" for n in range(3)), "_SUCCESS"}
    notes = {path.name for path in (tmp_path / "_scores").iterdir()}
    assert {"scoring.json", "drift.json", "drift.html"} <= notes
    scored = pl.read_parquet(tmp_path / "scores")
    expected = load_bundle(shop.bundle(2)).predict(rows)
    assert_frame_equal(scored, pl.concat([rows.select("row_id"), expected], how="horizontal"))


def test_the_champion_is_exported(shop: Any, tmp_path: Path) -> None:
    shop.do("export", "--model", "models:/shop@champion", "--output", tmp_path / "network",
       "--out", tmp_path / "told")  # fmt: skip
    result = json.loads((tmp_path / "told/result.json").read_text())
    exported = load_export(tmp_path / "network", pin=result["pin"])
    predictor = load_bundle(shop.bundle(2))
    batch = predictor.preprocessor.encode(shop.rows(50), labels=False)
    outputs = exported.run(batch)
    for task, values in predictor.raw_outputs(batch).items():
        assert (outputs[task] - values).abs().max() <= 1e-6 * max(1.0, float(values.abs().max()))


def raw(shop: Any, predictor: Any) -> pl.DataFrame:
    """Features with nulls, unknown categories, and lists that are empty, null or strange."""
    rows = shop.rows(40).select(predictor.columns)
    at = pl.int_range(pl.len())
    changes = [
        pl.when(at == index).then(None).otherwise(pl.col(name)).alias(name)
        for index, name in enumerate(predictor.columns)
    ]
    rows = rows.with_columns(changes)
    item = rows.schema["recent_01"].inner  # type: ignore[attr-defined]
    strange = pl.Series([None, [], [990_001, 990_002]], dtype=pl.List(pl.Int64))
    lists = strange.cast(pl.List(item)).append(rows["recent_01"][3:])
    odd = pl.when(at == 5).then(pl.lit(990_003)).otherwise(pl.col("category_01"))
    odd = odd.cast(rows.schema["category_01"]).alias("category_01")
    return rows.with_columns(lists.alias("recent_01"), odd)


@pytest.mark.parametrize("orient", ["dataframe_records", "dataframe_split"])
def test_it_answers_as_in_process(shop: Any, http: Any, orient: str) -> None:
    predictor = load_bundle(shop.bundle(2))
    rows = raw(shop, predictor)
    records = rows.to_dicts()
    split = {"columns": rows.columns, "data": [list(row.values()) for row in records]}
    content = records if orient == "dataframe_records" else split
    status, answer = http.post("/invocations", {orient: content})
    assert status == 200, answer
    expected = predictor.predict(rows)
    assert set(expected.columns) >= TASKS
    answered = pl.DataFrame(answer["predictions"], schema=expected.schema)
    assert_frame_equal(answered, expected, abs_tol=1e-6, rel_tol=1e-6)


def test_a_wrong_request_is_refused_and_the_next_is_answered(shop: Any, http: Any) -> None:
    row = shop.rows(1).select(load_bundle(shop.bundle(2)).columns).to_dicts()[0]
    status, answer = http.post("/invocations", {"dataframe_records": [row | {"age": "old"}]})
    assert status == 400
    message = "column 'age': not a number; found 'old' in row 0 (counted from 0)"
    assert (answer["message"], "stack_trace" in answer) == (message, False)
    less = {name: value for name, value in row.items() if name != "age"}
    status, answer = http.post("/invocations", {"dataframe_records": [less]})
    assert status == 400
    assert "age" in json.dumps(answer)
    assert http.post("/invocations", {"dataframe_records": [row]})[0] == 200


def test_a_tampered_artifact_is_refused(
    shop: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(tmp_path / "cache"))
    original = (shop.bundle(3) / "weights.safetensors").read_bytes()
    stored = [
        path
        for path in shop.artifacts.rglob("weights.safetensors")
        if path.read_bytes() == original
    ]
    assert stored
    for path in stored:
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    try:
        shop.do("predict", "--model", "models:/shop/3", "--input", shop.folder / "fresh/rows",
           "--output", tmp_path / "scores.parquet", code=2)  # fmt: skip
    finally:
        for path in stored:
            path.write_bytes(original)
    assert "weights.safetensors is not the file that was registered" in capsys.readouterr().err
    assert not (tmp_path / "scores.parquet").exists()
