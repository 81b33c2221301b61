"""The flow of several processes: what it runs, what it compares, and in small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import several_processes
from recsys_mtl.cli import script
from recsys_mtl.cli.script import run_script


def result(loss: float, auc: float | None = 0.7) -> dict[str, Any]:
    epoch = {"epoch": 0, "train_losses": {"click": 0.5}, "valid_losses": {"click": loss}}
    training = {"rows_per_second": 1000.0, "epochs": [epoch]}
    tasks = {"click": {"metrics": {"auc": {"value": auc}}}}
    return {"training": training, "peak_memory_mb": 700.0, "tasks": tasks}


@pytest.mark.parametrize(("loss", "status"), [(0.4, 0), (0.40009, 0), (0.5, 1)])
def test_it_compares_what_its_commands_leave(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    loss: float,
    status: int,
) -> None:
    results = {"one": result(0.4), "several": result(loss)}
    commands: list[list[str]] = []

    def main(words: list[str]) -> int:
        commands.append(words)
        if words[0] == "train":
            out = Path(words[words.index("--out") + 1])
            out.mkdir()
            (out / "result.json").write_text(json.dumps(results[out.name]))
        return 0

    monkeypatch.setattr(script, "main", main)
    words = ["--out", str(tmp_path), "--processes", "3", "--set", "model.levels=2"]
    assert run_script(several_processes.several_processes, words) == status
    assert [words[0] for words in commands] == ["synthesize", "train", "train", "predict"]
    one, three = commands[1:3]
    assert "--processes" not in one
    assert three[-2:] == ["--processes", "3"]
    assert {"training.threads=3", "model.levels=2"} <= set(one)
    assert {"training.threads=1", "model.levels=2"} <= set(three)
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["difference"] == pytest.approx(loss - 0.4)
    if status:
        assert "0.1, of the valid_losses of click in epoch 0" in capsys.readouterr().out


@pytest.mark.slow  # trainings
def test_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", str(tmp_path), "--rows", "1500", "--set", "training.epochs=1"]
    assert run_script(several_processes.several_processes, words) == 0
    assert json.loads((tmp_path / "result.json").read_text())["difference"] < 1e-4
    assert "rows/s" in capsys.readouterr().out
    assert (tmp_path / "scores.parquet").is_file()
