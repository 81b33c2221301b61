from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_synth import load_plan, presets
from data_synth.load import plan_hash
from recsys_mtl.cli.main import main
from recsys_mtl.config import load_config
from recsys_mtl.errors import UserError
from recsys_mtl.runs.validate import validate
from recsys_mtl.synthetic.synthesize import synthesize

ROWS = 2000


def test_the_result(tmp_path: Path) -> None:
    arguments = ["--rows", str(ROWS), "--out", str(tmp_path), "--processes", "1"]
    assert main(["synthesize", "demo", *arguments]) == 0
    stored = json.loads((tmp_path / "result.json").read_text())
    assert (stored["job"], stored["name"]) == ("synthesize", "demo")
    assert (stored["rows"], stored["seed"]) == (ROWS, 0)
    assert stored["config_hash"] == plan_hash(load_plan("demo"))
    assert stored["rows_per_second"] > 0
    assert stored["peak_memory_mb"] > 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    arguments = ["synthesize", "demo", "--rows", "100", "--out", str(out), "--seed", "5"]
    arguments += ["--set", "tasks.click.rate=0.5", "--processes", "1"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert f"{out}: 100 rows in" in output
    assert f"recsys-mtl train {out / 'train.yaml'} --data {out}" in output
    plan = load_plan(out / "plan.yaml")
    assert plan.seed == 5
    assert plan.tasks["click"].rate == 0.5  # type: ignore[union-attr]
    assert pl.read_parquet(out / "rows").height == 100
    assert main(arguments) == 0  # it is finished: nothing to do
    assert main([*arguments, "--seed", "6"]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith(f"error: {out}: cannot write the data there; expected a new or empty")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["neutrl", "--rows", "5"], "no such preset or file -> did you mean 'neutral'?"),
        (["demo", "--rows", "0"], "--rows"),
        (["demo", "--rows", "5", "--processes", "0"], "--processes"),
        (["demo", "--rows", "5", "--set", "tasks.click.rate=2.0"], "tasks.click.rate"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    assert main(["synthesize", *arguments, "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert expected in line
    assert not out.exists()


def test_an_output_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    arguments = ["synthesize", "demo", "--rows", "5", "--out", str(tmp_path / "file" / "data")]
    assert main(arguments) == 2
    assert "cannot write to the output folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="other files -> give another --out"):
        synthesize(load_plan("demo"), rows=5, out=tmp_path, processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_job_reports_that_it_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recsys_mtl.synthetic.synthesize.fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize(load_plan("demo"), rows=5, out=tmp_path)
    assert "the same command resumes where this one stopped" in caplog.text
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    "name", [n if n == "demo" else pytest.param(n, marks=pytest.mark.slow) for n in presets()]
)
def test_the_training_config_of_every_preset_validates(name: str, tmp_path: Path) -> None:
    """On few rows, without any warning: no feature gives a label away, every column is named."""
    out = tmp_path / name
    # Three hundredths of 2,000 labels with a rate of a tenth may lack a class in the training rows.
    rows = 3 * ROWS if name.startswith("scarce") else ROWS
    synthesize(load_plan(name), rows=rows, out=out, processes=1)
    shutil.rmtree(out / "truth")  # nothing of a training reads it
    (out / "truth.json").unlink()
    config = load_config(out / "train.yaml", [f'data.root="{out}"'])
    answer = validate(config)
    assert answer["warnings"] == []
    assert sum(answer["rows"].values()) == rows
    assert list(answer["tasks"]) == list(load_plan(name).tasks)
