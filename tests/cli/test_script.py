from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from recsys_mtl.cli.script import Steps, run_script
from recsys_mtl.errors import UserError


def greet(name: str, times: Annotated[int, typer.Option(min=1)] = 1) -> int:
    """Say hello."""
    if name == "nobody":
        raise UserError
    typer.echo(f"hello {name}\n" * times, nl=False)
    return 3 if name == "judge" else 0


def test_a_function_is_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(greet, ["ann", "--times", "2"]) == 0
    assert capsys.readouterr().out == "hello ann\nhello ann\n"
    assert run_script(greet, ["judge"]) == 3
    assert run_script(greet, ["nobody"]) == 2
    assert run_script(greet, ["ann", "--times", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: Invalid value for '--times'")
    assert run_script(greet, ["--help"]) == 0
    assert "Say hello." in capsys.readouterr().out


def test_steps_are_done_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []

    def work(name: str) -> dict[str, Any]:
        done.append(name)
        return {"line": f"{name} is done", "folder": tmp_path}

    for _ in range(2):
        steps = Steps(tmp_path / "job", {"model": "shop"})
        assert steps.do("one", lambda: work("one"))["folder"] == str(tmp_path)
    assert done == ["one"]
    assert capsys.readouterr().out == "one: one is done\n" * 2
    with pytest.raises(ZeroDivisionError):
        Steps(tmp_path / "job", {"model": "shop"}).do("two", lambda: {"line": 1 / 0})
    assert [*json.loads((tmp_path / "job/steps.json").read_text())] == ["asked", "one"]
    with pytest.raises(UserError, match="steps of another job; expected the same model; found"):
        Steps(tmp_path / "job", {"model": "books"})
