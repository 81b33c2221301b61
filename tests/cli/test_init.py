"""`recsys-mtl init`: what it writes, what it never replaces, and that its draft trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.config import load_config
from recsys_mtl.runs import validate

REAL = {
    "bank_marketing.csv": ["y", "housing", "loan", "default"],
    "adult.csv": ["income", "marital-status"],
    "hillstrom.csv": ["visit", "conversion", "spend"],
    "BankChurners.csv": ["Attrition_Flag", "Income_Category", "Card_Category"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a table of clicks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECSYS_MTL_DATA", raising=False)
    rng = np.random.default_rng(5)
    clicks = (rng.random(300) < 0.3).astype(int)
    pl.DataFrame({"age": rng.integers(20, 60, 300), "click": clicks}).write_csv("rows.csv")
    return tmp_path


def test_it_writes_a_config_and_says_what_is_next(folder: Path, capsys) -> None:
    assert main(["init", "rows.csv", "--label", "click"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train.yaml: features 1, tasks 1, ignored columns 0, split by fraction; "
        "drafted from all 300 rows",
        "  recsys-mtl validate train.yaml",
        "  recsys-mtl train train.yaml --baselines",
    ]
    assert load_config("train.yaml").data.path == "rows.csv"
    assert {path.name for path in folder.iterdir()} == {"rows.csv", "train.yaml"}


def test_it_prints_the_config(folder: Path, capsys) -> None:
    assert main(["init", "rows.csv", "--label", "click", "--out", "-"]) == 0
    assert capsys.readouterr().out.startswith("# Drafted by `recsys-mtl init rows.csv --label")
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize("out", ["train.yaml", "rows.csv", "sub"])
def test_it_replaces_no_file(folder: Path, capsys, out: str) -> None:
    Path("train.yaml").write_text("mine")
    Path("sub").mkdir()
    before = Path("rows.csv").read_text()
    assert main(["init", "nothing.csv", "--label", "click"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["init", "rows.csv", "--label", "click", "--out", out]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert Path("train.yaml").read_text() == "mine"
    assert Path("rows.csv").read_text() == before


def test_force_replaces_the_config_and_never_the_table(folder: Path, capsys) -> None:
    Path("train.yaml").write_text("mine")
    assert main(["init", "rows.csv", "--label", "click", "--force"]) == 0
    assert Path("train.yaml").read_text().startswith("# Drafted")
    assert main(["init", "rows.csv", "--label", "click", "--force", "--out", "rows.csv"]) == 2
    assert "this is the table itself" in capsys.readouterr().err


def test_the_path_is_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data").mkdir()
    monkeypatch.setenv("RECSYS_MTL_DATA", str(folder / "data"))
    assert main(["init", "rows.csv", "--label", "click"]) == 0
    assert load_config("train.yaml").data.path == str(folder / "rows.csv")
    (folder / "rows.csv").rename(folder / "data/rows.csv")
    assert main(["init", "rows.csv", "--label", "click", "--force"]) == 0
    assert load_config("train.yaml").data.path == "rows.csv"


def test_without_a_label_it_names_candidates(folder: Path, capsys) -> None:
    assert main(["init", "rows.csv"]) == 2
    assert capsys.readouterr().err == (
        "error: rows.csv: no label; expected --label COLUMN, once a task; "
        "found columns like one: click\n"
    )
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]


@pytest.mark.slow  # trains
def test_a_draft_trains(folder: Path) -> None:
    assert main(["init", "rows.csv", "--label", "click"]) == 0
    quick = ["--set", "training.epochs=1", "--set", "tracking.enabled=false"]
    assert main(["train", "train.yaml", *quick]) == 0


@pytest.mark.slow  # reads real tables
@pytest.mark.parametrize("table", REAL)
def test_the_draft_of_a_real_table_is_what_a_training_takes(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = [word for label in REAL[table] for word in ("--label", label)]
    assert main(["init", table, *labels]) == 0
    config = load_config("train.yaml")
    assert config.data.path == table
    result = validate.validate(config)
    assert list(result["tasks"]) == REAL[table]
    assert not [warning for warning in result["warnings"] if "determines" in warning]
