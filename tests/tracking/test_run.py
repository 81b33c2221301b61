from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from recsys_mtl.errors import UserError
from recsys_mtl.tracking import NullRun, PackagedModel, open_run


def test_null_run_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_run(False, "http://nowhere.invalid", "e", "n", spool=tmp_path) as run:
        run.params({"a": 1})
        run.metrics({"a": 1.0}, 1)
        run.text("a.txt", "a")
        run.figure("a.png", Figure())
        run.artifact(tmp_path)
        run.tags({"a": "b"})
        model = PackagedModel(tmp_path, tmp_path, tmp_path, None, None, (), {})
        assert run.model("model", model) is None
        run.end("FAILED")
    assert (run.id, run.uri) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_an_error_passes_through_a_null_run() -> None:
    with pytest.raises(KeyError), NullRun():
        raise KeyError


def test_a_leftover_rank_does_not_turn_tracking_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match="cannot track this run"):
        open_run(True, "htp://server", "e", "n")


def test_mlflow_is_not_imported_when_tracking_is_off() -> None:
    code = (
        "import sys; from recsys_mtl.tracking import open_run; open_run(False, None, 'e', 'n');"
        "sys.exit('mlflow' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
