from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.cli import main
from pipelines.predict import predict
from pipelines.train import train
from recsys_mtl.errors import UserError
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor

Trained = tuple[Any, dict[str, Any]]


def test_the_file_holds_what_the_predictor_says(trained: Trained, tmp_path: Path) -> None:
    toy, _ = trained
    output = tmp_path / "new" / "scores.parquet"
    result = predict(toy.run, input=str(toy.data), output=output, out=tmp_path / "out")
    expected = load_bundle(toy.run / "model").predict(toy.rows())
    assert pl.read_parquet(output).equals(expected)
    assert (result["rows"], result["output"]) == (500, output)
    assert result["rows_per_second"] > 0
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (stored["job"], stored["output"]) == ("predict", str(output))
    assert stored.keys() == result.keys()
    assert [path.name for path in output.parent.iterdir()] == ["scores.parquet"]


def test_rows_go_through_in_bounded_batches(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, _ = trained
    heights = []
    whole = load_bundle(toy.run / "model").predict(toy.rows())
    usual = Predictor.predict

    def watched(self: Predictor, frame: pl.DataFrame) -> pl.DataFrame:
        heights.append(frame.height)
        return usual(self, frame)

    monkeypatch.setattr(Predictor, "predict", watched)
    output = tmp_path / "scores.parquet"
    predict(toy.run, input=str(toy.data), output=output, batch_rows=64)
    assert sum(heights) == 500
    assert max(heights) == 64
    scores = pl.read_parquet(output)
    assert scores.drop("click", "buy").columns == whole.drop("click", "buy").columns
    for task in ("click", "buy", "spend"):
        assert scores[task].to_numpy() == pytest.approx(whole[task].to_numpy(), abs=1e-5)


def test_labels_are_not_needed_and_other_columns_no_harm(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    bare = toy.rows().drop(*result["tasks"], "customer", "day", "importance")
    bare.with_columns(pl.lit(1).alias("more")).write_parquet(tmp_path / "bare.parquet")
    predict(toy.run, input=str(tmp_path / "bare.parquet"), output=tmp_path / "scores.parquet")
    expected = load_bundle(toy.run / "model").predict(toy.rows())
    assert pl.read_parquet(tmp_path / "scores.parquet").equals(expected)


def test_a_csv_gives_the_same(toy: Any, tmp_path: Path) -> None:
    separator = "features.seen={kind: categorical_list, max_length: 3, separator: '|'}"
    config = toy.config(separator, "training.epochs=1")
    rows = toy.rows().with_columns(pl.col("seen").list.join("|"))
    rows.write_parquet(toy.data)
    rows.write_csv(toy.folder / "toy.csv")
    train(config, toy.run)
    scores = []
    for name in ("toy.parquet", "toy.csv"):
        predict(toy.run, input=str(toy.folder / name), output=tmp_path / "scores.parquet")
        scores.append(pl.read_parquet(tmp_path / "scores.parquet"))
    assert scores[0].height == 500
    assert scores[0].equals(scores[1])


def test_a_failure_on_the_way_leaves_what_was_there(toy: Any, trained: Trained) -> None:
    last = pl.int_range(pl.len()) == 499
    bad = pl.when(last).then(pl.lit(float("inf"))).otherwise("age").alias("age")
    toy.rows().with_columns(bad).write_parquet(toy.data)
    output = toy.folder / "scores" / "scores.parquet"
    for before in ([], [output]):
        with pytest.raises(UserError, match="column 'age': infinite value"):
            predict(trained[0].run, input=str(toy.data), output=output, batch_rows=100)
        assert list(output.parent.iterdir()) == before
        output.write_bytes(b"old")
    assert output.read_bytes() == b"old"


@pytest.mark.parametrize("link", [False, True])
def test_an_input_file_is_not_replaced(trained: Trained, tmp_path: Path, link: bool) -> None:
    toy, _ = trained
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        toy.rows().write_parquet(tmp_path / "in" / f"{name}.parquet")
    output = before = tmp_path / "in" / "b.parquet"
    content = before.read_bytes()
    if link:
        output = tmp_path / "scores.parquet"
        output.symlink_to(before)
    with pytest.raises(UserError, match="the output would replace an input file"):
        predict(toy.run, input=str(tmp_path / "in"), output=output)
    assert before.read_bytes() == content


def test_the_command(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy, _ = trained
    output = tmp_path / "scores.parquet"
    assert main(["predict", str(toy.run), "--input", str(toy.data), "--output", str(output)]) == 0
    assert "500 rows, " in capsys.readouterr().out
    assert pl.read_parquet(output).height == 500
