from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.data.loader import StreamLoader
from recsys_mtl.data.loading import load_rows
from recsys_mtl.data.opening import open_splits
from recsys_mtl.errors import UserError
from recsys_mtl.runs.evaluate import evaluate, model_folder
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle, save_bundle
from recsys_mtl.wiring.run import build_evaluator
from tests.marks import slow_except

Trained = tuple[Any, dict[str, Any]]


def test_it_repeats_the_test_metrics_of_the_training(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    assert main(["evaluate", str(toy.run), "--out", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["tasks"] == result["tasks"]
    assert stored["rows"] == result["data"]["rows"]["test"]
    assert stored["fingerprint"] == result["data"]["fingerprint"]
    evaluation = evaluate(toy.run / "model")
    assert evaluation.numbers["tasks"] == result["tasks"]
    assert evaluation.tasks["click"] == result.tasks["click"]
    assert evaluation.to_dict().keys() | {"job", "version", "started", "seconds"} == stored.keys()
    assert evaluation.to_frame().equals(result.to_frame())
    assert stored["rows_per_second"] > 0
    assert stored["peak_memory_mb"] > 0
    assert (stored["job"], stored["model"]) == ("evaluate", str(toy.run / "model"))


def test_valid_is_another_split(trained: Trained) -> None:
    toy, result = trained
    numbers = evaluate(toy.run, split="valid").numbers
    assert numbers["rows"] == result["data"]["rows"]["valid"]
    assert numbers["tasks"]["click"]["labelled"] == numbers["rows"]
    assert numbers["tasks"]["band"]["metrics"] != result["tasks"]["band"]["metrics"]


def test_streamed_rows_give_the_same_metrics(trained: Trained) -> None:
    toy, _ = trained
    predictor = load_bundle(toy.run / "model")
    metrics = []
    for loading in ("memory", "stream"):
        config = toy.config(f"data.loading={loading}")
        loader = load_rows(config, open_splits(config).rows("test"), predictor.preprocessor)
        assert isinstance(loader, StreamLoader) == (loading == "stream")
        evaluator = build_evaluator(config, predictor.preprocessor, precision="fp32")
        metrics.append(evaluator(predictor.network, loader).metrics)
    assert metrics[0] == metrics[1]


def test_other_rows_are_all_evaluated(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their paths start where one stands, and columns that the model does not know are no harm."""
    toy, _ = trained
    new = toy.rows().head(90).drop("customer").with_columns(pl.lit("x").alias("remark"))
    (tmp_path / "sub").mkdir()
    new.write_parquet(tmp_path / "sub" / "new.parquet")
    monkeypatch.chdir(tmp_path)
    numbers = evaluate(toy.run, input="sub/*.parquet").numbers
    assert numbers["rows"] == 90
    assert numbers["tasks"]["click"]["labelled"] == 90
    assert numbers["tasks"]["spend"]["labelled"] == 90 - new["spend"].null_count()
    assert (
        evaluate(toy.run, data=tmp_path / "sub", input="new.parquet").numbers["tasks"]
        == numbers["tasks"]
    )


@pytest.mark.parametrize("column", slow_except(["day"], ["customer", "day"]))
def test_other_rows_may_still_have_the_split_column(toy: Any, column: str) -> None:
    ignored = {"customer": "day", "day": "customer"}[column]
    kind = {"customer": "group", "day": "time"}[column]
    split = f"data.split={{kind: {kind}, column: {column}}}"
    train(toy.config(f'data.ignore=["{ignored}"]', split, "training.epochs=1"), toy.run)
    numbers = evaluate(toy.run, input=str(toy.data)).numbers
    assert numbers["rows"] == 500
    toy.rows().drop(column).write_parquet(toy.data)
    assert evaluate(toy.run, input=str(toy.data)).numbers["tasks"] == numbers["tasks"]


def test_changed_data_are_no_test_rows(toy: Any, trained: Trained) -> None:
    """The split goes by position: with a row more in front, test rows are training rows."""
    shared, result = trained
    fingerprint = result["data"]["fingerprint"]
    predictor = load_bundle(shared.run / "model")
    parts = toy.config(), predictor.preprocessor, predictor.network.state_dict()
    save_bundle(toy.folder / "model", *parts, fingerprint=fingerprint)
    assert evaluate(toy.folder).numbers["tasks"] == result["tasks"]
    rows = toy.rows()
    pl.concat([rows.tail(1), rows]).write_parquet(toy.data)
    with pytest.raises(UserError, match=f"expected fingerprint {fingerprint}.* --input"):
        evaluate(toy.folder)
    assert evaluate(toy.folder, input=str(toy.data)).numbers["rows"] == 501


def test_moved_data_are_found_below_another_folder(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    (tmp_path / "toy.parquet").write_bytes(toy.data.read_bytes())
    assert evaluate(toy.run, data=tmp_path).numbers["fingerprint"] == result["data"]["fingerprint"]


def test_rows_that_are_gone_are_named_with_the_way_on(toy: Any, trained: Trained) -> None:
    """As those of a `MultiTaskModel`, which were a table in memory."""
    shared, result = trained
    predictor = load_bundle(shared.run / "model")
    parts = toy.config("data.root=/gone"), predictor.preprocessor, predictor.network.state_dict()
    save_bundle(toy.folder / "model", *parts, fingerprint=result["data"]["fingerprint"])
    with pytest.raises(UserError, match=r"data\.root: .*are not there; found no folder .* --input"):
        evaluate(toy.folder)
    absolute = toy.config("data.root=/gone", f"data.path={toy.data.resolve()}")
    save_bundle(toy.folder / "model", absolute, *parts[1:], fingerprint=predictor.fingerprint)
    assert evaluate(toy.folder).numbers["tasks"] == result["tasks"]
    assert evaluate(toy.folder, input=str(toy.data)).numbers["rows"] == 500


def test_the_command_prints_a_table(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    toy, result = trained
    assert main(["evaluate", str(toy.run)]) == 0
    out = capsys.readouterr().out
    assert "toy: test rows" in out
    for task in result["tasks"]:
        assert task in out
    assert f"{result['tasks']['click']['metrics']['auc']['value']:.4f}" in out


def test_model_folder(trained: Trained) -> None:
    toy, _ = trained
    assert model_folder(toy.run) == model_folder(toy.run / "model") == toy.run / "model"
