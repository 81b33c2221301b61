"""Every script runs from the project's folder and shows its help; the studies run what they say."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import ablation_study, paper_tables
from recsys_mtl.ablation.plan import check_arms
from recsys_mtl.ablation.summary import Summary
from recsys_mtl.cli.script import run_script

PROJECT = Path(ablation_study.__file__).parents[1]
SCRIPTS = sorted(path.name for path in (PROJECT / "pipelines").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = PROJECT / "pipelines" / script
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert not ended.value.code
    assert capsys.readouterr().out.startswith(f"Usage: {script} [OPTIONS]")
    assert f"python pipelines/{script}" in path.read_text()  # its docstring says how to run it


@pytest.mark.slow  # a process
def test_a_script_runs_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(PROJECT / "pipelines/ablation_study.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: ablation_study.py [OPTIONS]")


@pytest.mark.slow  # a process
def test_a_users_own_pipelines_are_left_alone(toy: Any) -> None:
    (toy.folder / "pipelines").mkdir()
    (toy.folder / "pipelines/__init__.py").write_text("raise SystemExit('not yours')")
    command = [sys.executable, "-m", "recsys_mtl", "validate", "toy.yaml"]
    done = subprocess.run(command, cwd=toy.folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("toy.yaml: valid")


def summary_of(scores: Mapping[str, Sequence[float]], *, task: str = "t") -> Summary:
    """Of one task's scores by arm, a number a seed; the first arm is the reference."""
    return ablation_study.of_published(published(scores, task=task), plan_of([*scores]))


def published(scores: Mapping[str, Sequence[float]], *, task: str = "t") -> dict[str, Any]:
    arms = {
        arm: {
            "seed": [*range(len(own))],
            **{key: [1.0] * len(own) for key in ("epochs", "train_seconds", "peak_memory_mb")},
            "kept_from_warmup": [False] * len(own),
            "scores": {task: [*own]},
        }
        for arm, own in scores.items()
    }
    return {"kinds": {task: "binary"}, "labelled": {task: 9}, "arms": arms}


def plan_of(names: Sequence[str]) -> Any:
    return SimpleNamespace(names=names, alpha=0.005, matters=0.1, holm=False)


SCORES = {"off": [0.70, 0.72, 0.74], "borrow_uniform": [0.704, 0.724, 0.7445]}


def test_the_ablation_study_asks_its_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def ablate(ablation: Any, out: Path, *, processes: int | None) -> Any:
        calls.append((ablation.name, ablation.synthetic.plan, ablation.seeds.count, out))
        scores = {arm: SCORES.get(arm, SCORES["off"]) for arm in ablation.names}
        for arm in (*scores, "of_before"):
            for seed, score in zip(
                ablation.seeds.values, SCORES.get(arm, SCORES["off"]), strict=False
            ):
                unit = {"arm": arm, "seed": seed, "true_scores": {}, "kinds": {"t": "binary"},
                        "scores": {"t": score}, "labelled": {"t": 9}, "epochs": 1.0,
                        "train_seconds": 1.0, "peak_memory_mb": 1.0}  # fmt: skip
                path = out / "units" / arm / f"seed-{seed}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(unit))
        return SimpleNamespace(summary=summary_of(scores), report=out / "report.md")

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
    assert re.search(r"^borrow_uniform +│ \+0.42 \[", shown, re.M)
    assert shown.endswith(f"\n{borrow}/alone/report.md\n")
    tables = (borrow / "tables.md").read_text()
    assert "| borrow_uniform | +0.42 [+0.18, +0.65] | helps | t +0.42 |  |  | 1.00 |" in tables

    calls.clear()
    folder = tmp_path / "docs/borrow"
    folder.mkdir(parents=True)
    for name in ("pairs", "groups", "alone"):
        (folder / f"{name}.json").write_text((borrow / name / "scores.json").read_text())
    again = ["--question", "borrow", "--seeds", "3", "--published", str(tmp_path / "docs")]
    assert run_script(function, [*again, "--out", str(tmp_path / "read")]) == 0
    written = (tmp_path / "read/borrow/tables.md").read_text()
    assert written == tables.replace("(0 to 2)", "(300 to 302)")  # and no arm of before
    assert not calls
    capsys.readouterr()
    for text, found in (("{}", "KeyError("), ('{"kinds": {}, "labelled": {}, "arms": {}}', "Stop")):
        (folder / "alone.json").write_text(text)
        assert run_script(function, again) == 2
        line = f"{folder}/alone.json: not the scores of an ablation; found {found}"
        assert line in capsys.readouterr().err
    real = ["--question", "real", "--published", str(tmp_path / "docs"), "--only", "bank"]
    assert run_script(function, real) == 2
    assert f"{tmp_path}/docs/real: no scores; expected bank.json" in capsys.readouterr().err
    assert run_script(function, ["--question", "what"]) == 2
    assert "what: use one of study, borrow, affinity" in capsys.readouterr().err
    assert run_script(function, ["--question", "real", "--only", "bank"]) == 2
    assert "nothing to ask of: use of kuairand, bank" in capsys.readouterr().err
    two = ["--question", "borrow", "--question", "affinity", "--only", "pairs"]
    assert run_script(function, two) == 2  # before the first trains
    assert not calls
    assert run_script(function, ["--out", str(tmp_path)]) == 0
    assert len(calls) == len({out for *_, out in calls}) == 10


@pytest.mark.slow  # forty arms
def test_the_questions_of_real_rows_fit_their_configs() -> None:
    plans = (("real", "kuairand"), ("real", "bank"), ("labels", "kuairand_long_view_0.03"),
             ("labels", "adult_income_0.1"))  # fmt: skip
    for asked, name in plans:
        ablation = ablation_study.QUESTIONS[asked][name].ablation(name, ["seeds.count=2"])
        check_arms(ablation)
        assert (ablation.name, ablation.seeds.count) == (name, 2)
    assert ablation.change["tasks.income.label_share"] == 0.1
    assert ablation.change["model.members"] == 1  # the plan's own changes stay


STUDIES = PROJECT / "docs/studies"


@pytest.mark.parametrize("asked", sorted(path.name for path in STUDIES.iterdir() if path.is_dir()))
def test_tables_of_the_results_are_those_of_the_published_scores(
    asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--question", asked, "--published", str(STUDIES), "--out", str(tmp_path)]
    assert run_script(ablation_study.ablation_study, options) == 0
    over_all, *of_rows = re.findall(
        r"(?:^\|.*\n)+", (tmp_path / asked / "tables.md").read_text(), re.M
    )
    shown = (PROJECT / "docs/results.md").read_text()
    assert [table for table in of_rows or [over_all] if table not in shown] == []
    capsys.readouterr()


def test_mean_ranks_and_what_they_distinguish() -> None:
    one = summary_of({"off": [0.5, 0.5], "a": [0.505, 0.505], "b": [0.499, 0.499]})
    two = summary_of({"off": [0.5, 0.5], "a": [0.502, 0.502], "b": [0.502, 0.502], "c": [0.6, 0.6]})
    table = ablation_study._ranks({"one": one, "two": two})
    assert table.rows == [["a", "1.2"], ["b", "2.2"], ["off", "2.5"]]
    assert "less than 2.3 apart" in table.note  # 2.343 of Demšar's table 5, times sqrt(12 / 12)


def test_more_kinds_of_rows_than_arms_turn_the_table() -> None:
    kinds = {name: ablation_study.Rows("x.yaml", task="t") for name in ("one", "two", "three")}
    table = ablation_study._differences(dict.fromkeys(kinds, summary_of(SCORES)), kinds)
    assert table.columns == ("rows", "off", "borrow_uniform")
    assert table.rows[2] == ["three", "", "+0.42 [+0.18, +0.65]"]


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
