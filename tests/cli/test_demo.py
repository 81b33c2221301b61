"""`recsys-mtl demo` and `recsys-mtl configs`; that they work from a wheel: tests/test_wheel.py."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_mtl.cli import command, demo
from recsys_mtl.cli.configs import ready_configs
from recsys_mtl.cli.main import main


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Those that the demo would run; its `evaluate` fails."""
    commands: list[list[str]] = []

    def run_each(run: Any, each: Sequence[str], **values: str) -> int:
        def noted(words: list[str]) -> int:
            commands.append(words)
            return 2 if words[0] == "evaluate" else 0

        return command.run_each(noted, each, **values)

    monkeypatch.setattr(demo, "run_each", run_each)
    return commands


def test_its_commands_run_as_those_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "COMMANDS", ("configs --out {out}/{rows}", "configs --out {out}/x y"))
    assert main(["demo", "--out", str(tmp_path), "--rows", "5000"]) == 2
    assert (tmp_path / "5000/demo.yaml").is_file()
    assert (
        capsys.readouterr().err
        == "error: Got unexpected extra argument(s) (y) (see recsys-mtl --help)\n"
    )


@pytest.mark.slow  # trainings
def test_it_ends_with_what_its_ablation_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In small; all of it takes two minutes."""
    small = "--set seeds.count=2 --set synthetic.rows=2000 --set change='{{training.epochs: 1}}'"
    monkeypatch.setattr(demo, "COMMANDS", (f"{demo.COMMANDS[-1]} {small}",))
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    shown = capsys.readouterr().out
    assert "one network for all tasks" in shown.partition("What this shows")[2]


def test_the_demo_runs_its_commands(
    tmp_path: Path, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "the demo"
    assert main(["demo", "--out", str(out), "--rows", "5000"]) == 2
    assert commands[0] == [
        *("synthesize", "demo", "--rows", "5000", "--seed", "0"),
        *("--set", "relations.groups.buying.within=0.8", "--out", f"{out}/data"),
    ]
    assert [words[:2] for words in commands[1:]] == [
        ["train", f"{out}/demo.yaml"],
        ["evaluate", f"{out}/run"],
    ]
    assert "--resume never" in " ".join(commands[1])  # a killed demo may have had other rows
    shown = capsys.readouterr().out
    assert shown.startswith("recsys-mtl synthesize demo --rows 5000 --seed 0 ")
    assert shown.count("\n") == len(commands)
    assert (out / "demo.yaml").read_bytes() == (ready_configs() / "demo.yaml").read_bytes()


def test_the_demo_asks_the_same_of_its_rows_and_its_ablation() -> None:
    """Rows are planned alike, and the ablation's base is the config that is trained."""
    plan = yaml.safe_load((ready_configs() / "ablations/demo.yaml").read_text())
    [(key, value)] = plan["synthetic"]["change"].items()
    assert f"{key}={value}" == demo.CLOSE
    assert plan["base"] == f"configs/{demo.CONFIGS['demo.yaml']}"
    assert inspect.signature(demo.demo).parameters["rows"].default == plan["synthetic"]["rows"]


def test_the_demo_replaces_its_own_folders_alone(
    tmp_path: Path, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    assert main(["demo", "--out", str(mine)]) == 2
    assert "data: the output folder holds what no `demo` wrote" in capsys.readouterr().err
    assert not commands
    assert [path.name for path in mine.iterdir()] == ["data"]
    out = tmp_path / "out"
    main(["demo", "--out", str(out)])
    (out / "data").mkdir()
    main(["demo", "--out", str(out)])
    assert not (out / "data").exists()
    assert len(commands) == 6


def test_ready_configs_are_listed_and_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["configs"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("tables/bank.yaml: Clients of a bank (Moro et al. 2") for line in listed
    )
    out = tmp_path / "configs"
    assert main(["configs", "--out", str(out)]) == 0
    copied = sorted(str(path.relative_to(out)) for path in out.rglob("*.yaml"))
    assert copied == [line.partition(": ")[0] for line in listed]
    assert main(["configs", "--out", str(out)]) == 2
    assert f"--out {out}: this is there already" in capsys.readouterr().err
