"""Predictions into a folder: parts, what is finished, what is replaced."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.data.batch import Batch
from recsys_mtl.errors import UserError
from recsys_mtl.folder_lock import locked
from recsys_mtl.scoring.folder import notes_folder
from recsys_mtl.scoring.job import Options
from recsys_mtl.scoring.predict import predict
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor

Trained = tuple[Any, dict[str, Any]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


PARTS = Options(keep=("customer", "city"), rows_per_file=120)
COMPLETE = ["_SUCCESS", *(f"part-0000{n}.parquet" for n in range(5))]
NOTES = [
    *("drift.html", "drift.json"),
    *(f"part-0000{n}.counts.json" for n in range(5)),
    "scoring.json",
]


@pytest.fixture
def scored(trained: Trained, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    output = tmp_path / "scores"
    return output, predict(trained[0].run, input=str(trained[0].data), output=output, options=PARTS)


def test_parts_hold_the_rows_in_their_order(trained: Trained, scored: Any) -> None:
    output, result = scored
    assert names(output) == COMPLETE
    assert names(notes_folder(output)) == NOTES
    heights = [pl.read_parquet(output / f"part-0000{n}.parquet").height for n in range(5)]
    assert heights == [120, 120, 120, 120, 20]
    rows = trained[0].rows()
    predicted = pl.read_parquet(output / "part-*.parquet")
    assert predicted.columns[:2] == ["customer", "city"]
    assert predicted.select("customer", "city").equals(rows.select("customer", "city"))
    expected = load_bundle(trained[0].run / "model").predict(rows)
    assert predicted["click"].to_numpy() == pytest.approx(expected["click"].to_numpy(), abs=1e-5)
    assert result["rows"] == result["rows_scored"] == 500
    settings = json.loads((notes_folder(output) / "scoring.json").read_text())
    assert settings["bundle_sha256"] == result["bundle_sha256"]
    assert settings["fingerprint"] == result["input_fingerprint"]


def test_a_finished_folder_is_left_as_it_is(
    trained: Trained, scored: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    output, _ = scored
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    arguments = ["--input", str(trained[0].data), "--output", str(output), "--rows-per-file", "120"]
    kept = ["--keep", "customer", "--keep", "city"]
    assert main(["predict", str(trained[0].run), *arguments, *kept]) == 0
    assert "500 rows, finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before
    assert main(["predict", str(trained[0].run), *arguments]) == 2
    assert "keep (['customer', 'city'] there, [] here)" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before
    assert main(["predict", str(trained[0].run), *arguments, "--overwrite"]) == 0
    assert "customer" not in pl.read_parquet(output / "part-00004.parquet").columns


def test_only_missing_parts_are_scored(trained: Trained, scored: Any) -> None:
    output, _ = scored
    complete = pl.read_parquet(output / "part-*.parquet")
    drift = (notes_folder(output) / "drift.json").read_text()
    for name in ("_SUCCESS", "part-00001.parquet", "part-00004.parquet"):
        (output / name).unlink()
    (notes_folder(output) / "drift.json").unlink()
    kept = (output / "part-00002.parquet").stat().st_mtime_ns
    data = str(trained[0].data)
    again = predict(trained[0].run, input=data, output=output, options=PARTS)
    assert again["rows_scored"] == 140
    assert names(output) == COMPLETE
    assert (output / "part-00002.parquet").stat().st_mtime_ns == kept
    assert pl.read_parquet(output / "part-*.parquet").equals(complete)
    assert (notes_folder(output) / "drift.json").read_text() == drift


def test_an_interrupted_job_resumes(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    output, usual, calls = tmp_path / "scores", Predictor.predict_encoded, []

    def interrupted(self: Predictor, rows: Batch) -> pl.DataFrame:
        calls.append(rows.num_rows)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return usual(self, rows)

    monkeypatch.setattr(Predictor, "predict_encoded", interrupted)
    arguments = ["predict", str(trained[0].run), "--input", str(trained[0].data)]
    arguments += ["--output", str(output), "--rows-per-file", "120"]
    assert main(arguments) == 130
    assert "3 of 5 parts are in" in caplog.text
    assert "the same command resumes" in caplog.text
    assert [n for n in names(output) if n.endswith(("parquet", "S"))] == [
        f"part-0000{n}.parquet" for n in range(3)
    ]
    assert main(arguments) == 0
    assert calls == [120, 120, 120, 120, 20]
    assert (names(output), names(notes_folder(output))) == (COMPLETE, NOTES)


def test_two_jobs_do_not_share_a_folder(trained: Trained, scored: Any) -> None:
    output, _ = scored
    with locked(notes_folder(output)), pytest.raises(UserError, match="another job writes there"):
        predict(trained[0].run, input=str(trained[0].data), output=output, options=PARTS)


def test_a_folder_is_a_parquet_data_set(scored: Any) -> None:
    output, _ = scored
    complete = pl.read_parquet(output / "part-*.parquet")
    assert pl.read_parquet(output).equals(complete)
    assert pl.scan_parquet(f"{output}/").collect().equals(complete)
    for table in (pq.read_table(output), ds.dataset(output).to_table()):
        assert pl.DataFrame(pl.from_arrow(table)).equals(complete)
    assert pd.read_parquet(output).shape == complete.shape


@pytest.mark.parametrize("name", ["scores.parquet", "scores"])
@pytest.mark.parametrize("typed", [True, False])
def test_an_empty_day_gives_columns_without_rows(
    trained: Trained, tmp_path: Path, name: str, typed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    toy, _ = trained
    day, output, none = tmp_path / "day.parquet", tmp_path / name, toy.rows().clear()
    if not typed:  # pandas stores texts of no rows as nulls
        none = none.with_columns(pl.lit(None).alias(column) for column in none.columns)
    none.write_parquet(day)
    arguments = ["predict", str(toy.run), "--input", str(day), "--output", str(output)]
    assert main([*arguments, "--keep", "customer"]) == 0
    assert "0 rows, 0 rows/s" in capsys.readouterr().out
    scores = pl.read_parquet(output)
    assert scores.height == 0
    predicted = load_bundle(toy.run / "model").output_schema()
    assert dict(scores.schema.items()) == {"customer": scores.schema["customer"], **predicted}


MINE: dict[str, Callable[[Path], object]] = {
    "other columns": lambda path: pl.DataFrame({"a": [1]}).write_parquet(path),
    "no Parquet": lambda path: path.write_text("mine"),
}


@pytest.mark.parametrize("case", MINE)
def test_a_file_of_others_is_replaced_only_on_demand(
    trained: Trained, tmp_path: Path, case: str
) -> None:
    toy, output = trained[0], tmp_path / "scores.parquet"
    MINE[case](output)
    before = output.read_bytes()
    with pytest.raises(UserError, match=r"no scoring wrote.*--overwrite"):
        predict(toy.run, input=str(toy.data), output=output)
    assert (names(tmp_path), output.read_bytes()) == (["scores.parquet"], before)
    for options in (Options(overwrite=True), Options(drift=False)):  # the second replaces ours
        predict(toy.run, input=str(toy.data), output=output, options=options)
    assert pl.read_parquet(output).height == 500
