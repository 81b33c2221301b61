"""The study of boosting: its arms, its tables in small, resumed, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines import against_boosting as study
from recsys_mtl.cli.script import run_script
from recsys_mtl.config import Config, label_of, load_config

QUICK = (
    "training.epochs=1",
    "training.batch_size=128",
    "model.shared_experts=[{kind: mlp, hidden: [8]}]",
)


def table(name: str) -> Config:
    return load_config(study.CONFIGS / f"{name}.yaml")


def write_table(name: str, folder: Path, rows: int = 400) -> None:
    """Random rows with the columns of the table's config."""
    config, rng = table(name), np.random.default_rng(0)
    columns: dict[str, Any] = {
        name: rng.normal(size=rows).round(2)
        if feature.kind == "numeric"
        else rng.choice([*"abc"], rows)
        for name, feature in config.features.items()
    }
    for task, spec in config.tasks.items():
        yes = (getattr(spec, "positives", None) or ["1"])[0]
        values = {"binary": [yes, "0"], "multiclass": [*"abc"], "regression": ["1.5", "2.5", "7"]}
        columns[label_of(task, spec)] = rng.choice(values[spec.kind], rows)
    pl.DataFrame(columns).write_csv(folder / str(config.data.path))


@pytest.mark.parametrize("name", study.TABLES)
def test_a_table_says_nothing_of_the_network(name: str) -> None:
    config = table(name)
    assert config.name == name
    assert config.model_fields_set == {"name", "data", "features", "tasks"}
    assert config.data.model_fields_set <= {"path", "ignore"}
    assert all(f.model_fields_set == {"kind"} for f in config.features.values())


@pytest.mark.parametrize("file", ["recipe", "members"])
def test_the_ready_arms_fit_a_table(file: str, tmp_path: Path) -> None:
    write_table("bank_churn", tmp_path, rows=40)
    path = study.CONFIGS / "bank_churn.yaml"
    arms = study._own_arms((), study.CONFIGS / f"arms/{file}.yaml")
    settings = study._settings(path, [f"data.root={tmp_path}"], {**study.READY, **arms})
    hashes = {name: found for name, (found, _) in settings.items()}
    assert len(hashes) == len(arms) + len(study.READY)
    assert hashes["default"] != hashes["single_task"]
    if file == "recipe":
        assert settings["without_bins"][1][1:] == ['features.*.transform="standardize"']


@pytest.mark.slow  # trainings
def test_all_tables_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in study.TABLES:
        write_table(name, tmp_path)
    (tmp_path / "arms.yaml").write_text("arms: {apart: {alone: true, model.tower.hidden: [4]}}")
    arguments = [
        *("--data", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "1"),
        *("--arm", "wide=features.*.transform={name: piecewise, bins: 4},model.dropout=0.3"),
        *("--arms-from", str(tmp_path / "arms.yaml")),
        *(word for change in QUICK for word in ("--set", change)),
    ]
    assert run_script(study.against_boosting, arguments) == 0
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "out/result.json").read_text())["summary"]
    assert [*result["tables"]] == [*study.TABLES, "all"]
    assert [*result["tables"]["all"]] == ["default", *study.BOOSTING, "apart", "wide"]
    assert result["tasks"]["hillstrom"]["spend"]["rival"] in study.BOOSTING
    assert "over default" in shown

    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/units/*/*.json")}
    assert len(files) == len(study.TABLES) * (3 + len(study.BOOSTING))
    more = ["--arms", f"wide,default,{study.BOOSTING[0]}", "--set", "training.epochs=2"]
    assert run_script(study.against_boosting, [*arguments, *more]) == 0
    trained = {p for p in tmp_path.glob("out/units/*/*.json") if p not in files}
    assert {path.parent.name for path in trained} == {"wide", "default"}
    assert all(path.stat().st_mtime_ns == written for path, written in files.items())

    write_table("bank", tmp_path, rows=420)  # other rows: nothing of before counts
    again = ["--tables", "bank", "--seeds", "1", "--arms", study.BOOSTING[0]]
    assert run_script(study.against_boosting, [*arguments, *again]) == 0
    assert len([*tmp_path.glob(f"out/units/{study.BOOSTING[0]}/table-bank-seed-0-*")]) == 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--arms", "defualt"], "--arms: no such arm; found defualt -> did you mean 'default'?"),
        (["--tables", "bnk"], "--tables: no such table; found bnk -> did you mean 'bank'?"),
        (["--tables", "bank,my/bank.yaml"], "--tables: two tables of one name; found bank"),
        (["--arm", "a/b=x=1"], "--arm a/b=x=1: not an arm; expected NAME=KEY=VALUE,KEY=VALUE"),
        (["--arm", "default=x=1"], "--arm default: the name of a ready-made arm; found default"),
        (["--arm", "fast=training.epoch=1"], "--arm fast: training.epoch"),
        (["--arm", "all=features.*.bin=1"], "--arm all: features.*.bin=1: a key that none of"),
        (["--set", "training.epoch=1"], "--set training.epoch=1: training.epoch"),
        (["--data", "nowhere"], "nowhere"),
        (["--metric", "log_loss"], "--metric: no metric that is better when larger; expected auc"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], line: str
) -> None:
    write_table("bank", tmp_path, rows=40)
    out = tmp_path / "out"
    arguments = ["--data", str(tmp_path), "--out", str(out), "--tables", "bank", *options]
    assert run_script(study.against_boosting, arguments) == 2
    (shown,) = capsys.readouterr().err.splitlines()
    assert line in shown
    assert not out.exists()
