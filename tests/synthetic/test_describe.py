from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_synth import Truth, load_plan
from recsys_mtl.cli.main import main
from recsys_mtl.synthetic.describe import describe
from recsys_mtl.synthetic.synthesize import synthesize
from tests.pages import Read, table

CHANGES = ["tasks.churn.labelled=0.5", "features.missing.not_at_random=0.2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    changes = [part for change in CHANGES for part in ("--set", change)]
    arguments = ["--rows", "3000", "--out", str(folder), "--processes", "1", *changes]
    assert main(["synthesize", "demo", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def described(data: Path) -> dict[str, Any]:
    return describe(Truth.open(data)).numbers


def test_what_is_counted_is_in_the_rows(data: Path, described: dict[str, Any]) -> None:
    rows = pl.read_parquet(data / "rows" / "**" / "*.parquet")
    assert described["rows"] == len(rows) == 3_000
    for name, column in described["columns"].items():
        if name != "month":
            assert column["missing"] == rows[name].null_count() / len(rows), name
    assert described["columns"]["income"]["missing"] == pytest.approx(0.2, abs=0.03)
    assert described["columns"]["recent_01"]["mean"] == rows["recent_01"].list.len().mean()
    assert described["columns"]["household"]["distinct"] == rows["household"].n_unique()
    tasks = described["tasks"]
    assert tasks["churn"]["mean"] == pytest.approx(rows["churn"].mean())
    assert tasks["churn"]["labelled"] == rows["churn"].count()
    assert tasks["segment"]["classes"] == 4
    assert set(tasks) == {"click", "conversion", "churn", "segment", "value"}
    assert set(described["columns"]) | set(tasks) == {*rows.columns, "month"}


@pytest.mark.slow  # many rows
def test_the_page_shows_tasks_relations_and_columns(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", str(data), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    truth = json.loads((data / "truth.json").read_text())
    auc = truth["tasks"]["click"]["oracle"]["auc"]
    assert re.search(rf"^click +│ binary +│ +100.0% │.* 0.5000 │ {auc:.4f} ", printed, re.M)
    assert re.search(r"^3 churn +-30 +-30 ", printed, re.M)  # planned, below the diagonal
    missing = pl.read_parquet(data / "rows" / "**" / "*.parquet")["income"].null_count() / 3_000
    assert re.search(rf"^income +│ number │ +{missing:.1%} ", printed, re.M)
    page = Read((tmp_path / "describe.html").read_text())
    assert page.headings[0] == "Synthetic data set demo"
    assert f"click, oracle: {auc:.4f}" in page.pictures["Reachable auc"].tips
    relation, numbers = truth["relation"], json.loads((tmp_path / "result.json").read_text())
    first, second = relation["tasks"][:2]
    relations = page.pictures["Relations of the tasks"].tips
    assert f"{first}, {second}: {relation['measured'][0][1]:+.4g}" in relations
    assert f"{second}, {first}: {relation['planned'][1][0]:+.4g}" in relations
    assert len(relations) == 5 * 4
    shares = {name: column["missing"] for name, column in numbers["columns"].items()}
    gaps = sorted((name for name in shares if shares[name]), key=lambda name: -shares[name])
    assert page.pictures["Missing values"].tips == [f"{name}: {shares[name]:.4g}" for name in gaps]
    assert [row["task"] for row in table(page, "Tasks")] == relation["tasks"]
    assert [row["column"] for row in table(page, "Columns")] == list(numbers["columns"])
    assert not {"script", "link", "img"} & page.tags
    assert (tmp_path / "describe.png").stat().st_size > 20_000
    assert json.loads((tmp_path / "result.json").read_text())["job"] == "describe"


@pytest.mark.slow  # many rows
def test_without_out_the_page_is_next_to_the_data(data: Path) -> None:
    made = (data / "result.json").read_bytes()
    assert main(["describe", str(data)]) == 0
    assert (data / "describe.html").is_file()
    assert (data / "result.json").read_bytes() == made


def test_a_task_without_a_label_is_shown(tmp_path: Path) -> None:
    plan = load_plan("demo", ["tasks.conversion.labelled=0.001", "tasks.click.rate=0.01"])
    synthesize(plan, rows=40, out=tmp_path, processes=1)
    entry = describe(Truth.open(tmp_path)).numbers["tasks"]["conversion"]
    assert entry["labelled"] == 0
    assert entry["oracle"] is None


@pytest.mark.parametrize("made", [True, False])
def test_no_data_set_is_one_clear_line(
    made: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    if made:
        folder.mkdir()
    assert main(["describe", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {folder}: no synthetic data set there; expected")
    assert not folder.exists() or not list(folder.iterdir())
