"""A tuning of real trainings in two processes: killed, resumed, and its best config trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.tuning.search import FILE
from tests.toy import Toy
from tests.waiting import wait_for

METRIC = "training.early_stopping.metric=click/auc"


@pytest.mark.slow  # trainings and processes
def test_killed_and_resumed(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = toy.document()
    for column in ("band", "spend", "item"):
        del document["tasks"][column]
        document["data"]["ignore"].append(column)
    out, run = tmp_path / "out", tmp_path / "run"
    words = ["tune", str(toy.write(document)), "--set", METRIC, "--out", str(out)]
    words += ["--space", "rates", "--metric", "click/auc", "--trials", "3"]
    command = [sys.executable, "-m", "recsys_mtl", *words, "--processes", "2"]
    job = subprocess.Popen(command, stdout=subprocess.PIPE)
    journal = out / FILE  # until an epoch is reported
    wait_for(lambda: journal.exists() and b'"op_code":7' in journal.read_bytes(), 120)
    job.kill()
    job.communicate()  # its workers have its output: they end too
    assert main(words) == 0
    assert "Best trials" in capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert len(result["trials"]) == 3
    assert {trial["number"] for trial in result["trials"]} - {0, 1, 2}  # one was killed

    assert main(["train", str(out / "best.yaml"), "--out", str(run)]) == 0
    trained = json.loads((run / "result.json").read_text())
    best = next(t for t in result["trials"] if t["number"] == result["best"])
    assert trained["training"]["best_score"] == best["values"]["click/auc"]
