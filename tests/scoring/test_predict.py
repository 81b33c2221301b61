from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.data.batch import Batch
from recsys_mtl.errors import UserError
from recsys_mtl.runs.train import train
from recsys_mtl.scoring.job import Options
from recsys_mtl.scoring.predict import predict
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor
from tests.scoring.test_predict_folder import names

Trained = tuple[Any, dict[str, Any]]


def test_the_file_holds_the_predictions(trained: Trained, tmp_path: Path) -> None:
    toy, _ = trained
    output = tmp_path / "new" / "scores.parquet"
    result = predict(toy.run, input=str(toy.data), output=output)
    expected = load_bundle(toy.run / "model").predict(toy.rows())
    assert pl.read_parquet(output).equals(expected)
    assert (result["rows"], result["output"]) == (500, output)
    assert result["rows_per_second"] > 0
    drift = ["scores.drift.html", "scores.drift.json", "scores.parquet"]
    assert sorted(path.name for path in output.parent.iterdir()) == drift


def test_bf16_is_near_and_no_more(trained: Trained, tmp_path: Path) -> None:
    toy, _ = trained
    exact = load_bundle(toy.run / "model").predict(toy.rows())["click"]
    output = tmp_path / "scores.parquet"
    predict(toy.run, input=str(toy.data), output=output, options=Options(precision="bf16"))
    apart = (pl.read_parquet(output)["click"] - exact).abs()
    assert 0 < apart.max() < 0.02


def test_rows_go_through_in_bounded_batches(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, _ = trained
    heights = []
    complete = load_bundle(toy.run / "model").predict(toy.rows())
    usual = Predictor.predict_encoded

    def watched(self: Predictor, rows: Batch) -> pl.DataFrame:
        heights.append(rows.num_rows)
        return usual(self, rows)

    monkeypatch.setattr(Predictor, "predict_encoded", watched)
    output = tmp_path / "scores.parquet"
    predict(toy.run, input=str(toy.data), output=output, batch_rows=64)
    assert sum(heights) == 500
    assert max(heights) == 64
    scores = pl.read_parquet(output)
    assert scores.drop("click", "buy").columns == complete.drop("click", "buy").columns
    for task in ("click", "buy", "spend"):
        assert scores[task].to_numpy() == pytest.approx(complete[task].to_numpy(), abs=1e-5)


def test_labels_are_not_needed_and_other_columns_no_harm(trained: Trained, tmp_path: Path) -> None:
    toy, result = trained
    bare = toy.rows().drop(*result["tasks"], "customer", "day", "importance")
    bare.with_columns(pl.lit(1).alias("more")).write_parquet(tmp_path / "bare.parquet")
    predict(toy.run, input=str(tmp_path / "bare.parquet"), output=tmp_path / "scores.parquet")
    expected = load_bundle(toy.run / "model").predict(toy.rows())
    assert pl.read_parquet(tmp_path / "scores.parquet").equals(expected)


def test_parts_may_differ_where_the_model_does_not_read_or_in_how_a_value_is_stored(
    trained: Trained, tmp_path: Path
) -> None:
    toy, _ = trained
    rows = toy.rows()
    parts = [
        rows.head(100).with_columns(click=pl.lit("?"), age=pl.col("age").cast(pl.Decimal(38, 18))),
        rows.slice(100).drop("day", "band").with_columns(pl.col("city").cast(pl.Categorical)),
    ]
    (tmp_path / "in").mkdir()
    for number, part in enumerate(parts):
        part.write_parquet(tmp_path / f"in/{number}.parquet")
    predict(toy.run, input=str(tmp_path / "in"), output=tmp_path / "scores.parquet")
    expected = load_bundle(toy.run / "model").predict(rows)["click"]
    scores = pl.read_parquet(tmp_path / "scores.parquet")["click"]
    assert (scores - expected).abs().max() < 1e-6
    kept = Options(keep=("customer", "day", "band"))
    with pytest.raises(UserError, match=r"'day' \(date32\[day\] in '.*, missing in '.*'band' \("):
        predict(toy.run, input=str(tmp_path / "in"), output=tmp_path / "a.parquet", options=kept)


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
    old = pl.DataFrame(schema=load_bundle(trained[0].run / "model").output_schema())
    for before in ([], [output]):
        with pytest.raises(UserError, match="column 'age': infinite value"):
            predict(trained[0].run, input=str(toy.data), output=output, batch_rows=100)
        assert list(toy.folder.glob("scores/*")) == before
        assert output.parent.exists() == bool(before)
        output.parent.mkdir(exist_ok=True)
        old.write_parquet(output)
    assert pl.read_parquet(output).equals(old)


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
    output, out = tmp_path / "scores.parquet", tmp_path / "out"
    arguments = ["--input", str(toy.data), "--output", str(output), "--out", str(out)]
    assert main(["predict", str(toy.run), *arguments]) == 0
    assert "500 rows, " in capsys.readouterr().out
    assert pl.read_parquet(output).height == 500
    stored = json.loads((out / "result.json").read_text())
    assert (stored["job"], stored["output"]) == ("predict", str(output))
    assert (stored["rows"], stored["seconds"] > 0) == (500, True)


def test_drift_of_moved_rows(trained: Trained, tmp_path: Path) -> None:
    toy, _ = trained
    moved = toy.rows().with_columns(
        pl.col("age") + 30, pl.lit("lima").alias("city"), pl.lit(None, pl.Float64).alias("income")
    )
    moved.write_parquet(tmp_path / "moved.parquet")
    output = tmp_path / "scores.parquet"
    result = predict(toy.run, input=str(tmp_path / "moved.parquet"), output=output)
    drift = {
        d["name"]: d for d in json.loads((tmp_path / "scores.drift.json").read_text())["drift"]
    }
    assert [drift[n]["reading"] for n in ("age", "city", "income")] == ["large"] * 3
    assert (drift["city"]["unknown"], drift["city"]["unknown_then"]) == (1.0, 0.0)
    assert (drift["income"]["null"], drift["income"]["null_then"]) == (1.0, 0.0)
    assert result["drift"]["city"] == "large"
    assert drift["seen"]["reading"] == "stable"


def test_without_drift(trained: Trained, tmp_path: Path) -> None:
    toy, _ = trained
    parts = tmp_path / "parts"
    for output in (tmp_path / "scores.parquet", parts):
        predict(toy.run, input=str(toy.data), output=output, options=Options(drift=False))
    assert names(tmp_path) == ["_parts", "parts", "scores.parquet"]
    assert not [name for name in names(parts) if "drift" in name]


def test_an_older_model_has_no_drift(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toy, _ = trained
    model = Path(shutil.copytree(toy.run / "model", tmp_path / "model"))
    (model / "reference.json").unlink()
    manifest = json.loads((model / "manifest.json").read_text())
    del manifest["files"]["reference.json"]
    (model / "manifest.json").write_text(json.dumps(manifest))
    caplog.set_level("INFO")
    result = predict(model, input=str(toy.data), output=tmp_path / "scores.parquet")
    assert result["drift"] is None
    assert "drift is not measured" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": pl.col("city")}, "column 'age': wrong type; expected numbers or booleans; found"),
        ({"city": pl.col("seen")}, "column 'city': lists in a single-valued column"),
        ({"seen": pl.col("age")}, "column 'seen': no lists; expected lists; found Float64"),
        ({}, "missing column; expected a column 'income'"),
    ],
)
@pytest.mark.parametrize("name", ["scores.parquet", "scores"])
def test_other_columns_than_in_training(
    trained: Trained, tmp_path: Path, change: Any, message: str, name: str
) -> None:
    rows = trained[0].rows()
    rows = rows.with_columns(**change) if change else rows.drop("income")
    rows.write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=message):
        predict(trained[0].run, input=str(tmp_path / "rows.parquet"), output=tmp_path / name)
    assert names(tmp_path) == ["rows.parquet"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.parquet", Options(keep=("custmer",)), "--keep: no column 'custmer' -> did you mean"),
        ("a.parquet", Options(keep=("click",)), "'click' is a column of the predictions too"),
        ("a", Options(keep=("age", "age")), "'age' is named twice"),
        ("a.parquet", Options(rows_per_file=5), "--rows-per-file is for a folder"),
        ("a.csv", Options(), "predictions are written as Parquet"),
        ("file", Options(), "cannot write the output folder; found a file"),
        ("folder.parquet", Options(), "cannot write the output file; found a folder"),
    ],
)
def test_wrong_uses(
    trained: Trained, tmp_path: Path, name: str, options: Options, message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(UserError) as caught:
        predict(trained[0].run, input=str(trained[0].data), output=tmp_path / name, options=options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder.parquet"]


def test_the_output_is_not_among_the_input(trained: Trained, tmp_path: Path) -> None:
    trained[0].rows().write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="the output folder holds the input"):
        predict(trained[0].run, input=str(tmp_path / "rows.parquet"), output=tmp_path)
    assert names(tmp_path) == ["rows.parquet"]


@pytest.mark.parametrize(
    ("input", "output", "refused"),
    [
        ("in", "in/out", True),
        ("in", "in/out.parquet", True),
        ("in/*", "in/out", True),
        ("in/**/*.parquet", "in/out.parquet", True),
        ("*/*.parquet", "in/out.parquet", True),
        ("in/*.parquet", "in/out", False),
        ("in/r*.parquet", "in/rows", False),
        ("*/rows.parquet", "in/out.parquet", False),
        ("in/**/r*.parquet", "in/out", False),
        ("in/*.parquet", "in/out.parquet", True),
        ("i*", "in/deep/out", True),
        ("in", "in/_out", False),
        ("in/r*.parquet", "in/out", False),
        ("in/rows.parquet", "in/out.parquet", False),
        ("in", "in2", False),
    ],
)
def test_the_output_will_not_be_among_the_input(
    trained: Trained, tmp_path: Path, input: str, output: str, refused: bool
) -> None:
    (tmp_path / "in").mkdir()
    trained[0].rows().write_parquet(tmp_path / "in" / "rows.parquet")

    def go() -> object:
        return predict(trained[0].run, input=str(tmp_path / input), output=tmp_path / output)

    if refused:
        with pytest.raises(UserError, match="the output would be among the input"):
            go()
        assert [path.name for path in tmp_path.rglob("*")] == ["in", "rows.parquet"]
    else:
        go()
        go()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(trained: Trained, tmp_path: Path) -> None:
    toy, _ = trained
    pl.concat([toy.rows()] * 40).write_parquet(tmp_path / "1.parquet")
    (tmp_path / "20").mkdir()
    for number in range(20):
        shutil.copy(tmp_path / "1.parquet", tmp_path / "20" / f"{number}.parquet")
    peaks = []
    for name in ("1.parquet", "20"):
        command = [sys.executable, "-m", "recsys_mtl.cli.main", "predict", str(toy.run)]
        command += [
            "--input",
            str(tmp_path / name),
            "--output",
            str(tmp_path / f"scores-{name[:2]}"),
        ]
        command += ["--rows-per-file", "50000", "--batch-rows", "5000"]
        out = tmp_path / f"out-{name[:2]}"
        subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
        result = json.loads((out / "result.json").read_text())
        peaks.append((result["rows"], result["peak_memory_mb"]))
    assert [rows for rows, _ in peaks] == [20_000, 400_000]
    assert peaks[1][1] - peaks[0][1] < 60
