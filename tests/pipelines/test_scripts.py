"""Every script runs from the project's folder and shows its help; the studies run what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import ablation_study, paper_tables
from recsys_mtl.ablation.plan import check_arms
from recsys_mtl.cli.script import run_script

PROJECT = Path(ablation_study.__file__).parents[1]
SCRIPTS = sorted(path.name for path in (PROJECT / "pipelines").glob("*.py"))


@pytest.mark.slow  # processes
@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str, tmp_path: Path) -> None:
    path = PROJECT / "pipelines" / script
    command = [sys.executable, str(path), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: {script} [OPTIONS]")
    assert f"python pipelines/{script}" in path.read_text()  # its docstring says how to run it


@pytest.mark.slow  # a process
def test_a_users_own_pipelines_are_left_alone(toy: Any) -> None:
    (toy.folder / "pipelines").mkdir()
    (toy.folder / "pipelines/__init__.py").write_text("raise SystemExit('not yours')")
    command = [sys.executable, "-m", "recsys_mtl", "validate", "toy.yaml"]
    done = subprocess.run(command, cwd=toy.folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("toy.yaml: valid")


def test_the_ablation_study_asks_its_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def ablate(ablation: Any, out: Path, *, processes: int | None) -> dict[str, Any]:
        calls.append((ablation.name, ablation.synthetic.plan, ablation.seeds.count, out))
        gain = {"mean": 0.4, "low": -0.1, "high": 0.9}
        arms = {name: {"overall": gain if name != "off" else None} for name in ablation.names}
        return {
            "summary": {"level": 0.995, "reference": "off", "arms": arms},
            "report": out / "report.md",
        }

    monkeypatch.setattr(ablation_study, "ablate", ablate)
    function = ablation_study.ablation_study
    arguments = ["--question", "borrow", "--seeds", "3", "--out", str(tmp_path)]
    assert run_script(function, arguments) == 0
    borrow = tmp_path / "borrow"
    assert calls == [
        ("pairs", "scarce_pairs", 3, borrow / "pairs"),
        ("groups", "scarce", 3, borrow / "groups"),
        ("alone", "scarce_alone", 3, borrow / "alone"),
    ]
    shown = capsys.readouterr().out
    assert shown.startswith("Question borrow\n")
    assert "borrow_uniform │ +0.40 [-0.10, +0.90]" in shown
    assert shown.endswith(f"\n{borrow}/alone/report.md\n")
    assert run_script(function, ["--question", "what"]) == 2
    assert "what: use one of study, borrow, affinity" in capsys.readouterr().err
    calls.clear()
    assert run_script(function, ["--out", str(tmp_path)]) == 0
    assert len(calls) == len({out for *_, out in calls}) == 10


@pytest.mark.slow  # forty arms
def test_the_questions_of_real_rows_fit_their_configs() -> None:
    for asked, name in (("real", "kuairand"), ("real", "bank"), ("labels", "adult_income_0.1")):
        ablation = ablation_study.QUESTIONS[asked][name].ablation(name, ["seeds.count=2"])
        check_arms(ablation)
        assert (ablation.name, ablation.seeds.count) == (name, 2)
    assert ablation.change["tasks.income.label_share"] == 0.1
    assert ablation.change["model.members"] == 1  # the plan's own changes stay


def test_mean_ranks_and_what_they_distinguish() -> None:
    def result(**means: float) -> dict[str, Any]:
        arms = {name: {"overall": {"mean": mean}} for name, mean in means.items()}
        return {"summary": {"arms": {"off": {"overall": None}, **arms}}}

    results = {"one": result(a=0.5, b=-0.1), "two": result(a=0.2, b=0.2, only_here=1.0)}
    table = ablation_study._ranks(results)
    assert table.rows == [["a", "1.2"], ["b", "2.2"], ["off", "2.5"]]
    assert "less than 2.3 apart" in table.note  # 2.343 of Demšar's table 5, times sqrt(12 / 12)


def test_more_kinds_of_rows_than_arms_turn_the_table() -> None:
    gain = {"mean": 0.4, "low": -0.1, "high": 0.9}
    arms = {"off": {"overall": None}, "a": {"overall": gain, "tasks": {"t": gain}}}
    summary = {"level": 0.995, "reference": "off", "arms": arms}
    kinds = {name: ablation_study.Rows("x.yaml", task="t") for name in ("one", "two", "three")}
    table = ablation_study._differences({key: {"summary": summary} for key in kinds}, kinds)
    assert table.columns == ("rows", "off", "a")
    assert table.rows[2] == ["three", "", "+0.40 [-0.10, +0.90]"]


@pytest.mark.slow  # trainings
def test_a_question_in_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow's file is there
    options = ("--question", "affinity", "--seeds", "2", "--rows", "1500", "--processes", "1")
    assert run_script(ablation_study.ablation_study, [*options, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^measure_logits +│", shown, re.M)
    assert shown.endswith("affinity/bank16/report.md\n")
    assert (tmp_path / "affinity" / "graded" / "report.html").is_file()


@pytest.mark.slow  # trainings
def test_tables_of_a_paper_in_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RECSYS_MTL_DATA", raising=False)
    changes = ("dataset.rows.train=64", "dataset.rows.test=40", "training.epochs=1",
               "seeds.count=1", "reruns=1", "tracking.enabled=false", "sweep=null",
               "attention=null", "model.width=5")  # fmt: skip
    options = [word for change in changes for word in ("--set", change)]
    arguments = ["--paper", "rot-mnist", "--processes", "1", "--out", str(tmp_path), *options]
    assert run_script(paper_tables.paper_tables, arguments) == 0
    assert "0.2525 ± 0.021" in capsys.readouterr().out
    assert (tmp_path / "rot-mnist" / "report.html").is_file()
