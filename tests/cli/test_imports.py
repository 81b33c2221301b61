"""What a start imports: sets of modules, not seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LEARNING = {"torch", "torchrec", "fbgemm_gpu", "torchjd", "sklearn"}
HEAVY = {*LEARNING, "mlflow", "polars", "numpy", "pandas", "scipy", "matplotlib"}

CODE = """
import json, sys
from recsys_mtl.cli.main import main
status = main(sys.argv[2:])
open(sys.argv[1], "w").write(json.dumps([status, sorted({m.split(".")[0] for m in sys.modules})]))
"""


def imported(tmp_path: Path, *arguments: str, status: int = 0) -> set[str]:
    """The top-level packages that a command has imported at its end."""
    left = tmp_path / "modules.json"
    command = [sys.executable, "-c", CODE, str(left), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ended, modules = json.loads(left.read_text())
    assert ended == status, done.stderr
    return set(modules)


def test_the_package_alone() -> None:
    code = "import recsys_mtl, sys; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {*HEAVY, "pydantic", "typer", "yaml"}


@pytest.mark.slow  # fresh processes
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["promote", "--help"], ["schema"]]
)
def test_help_and_schema_need_no_library(arguments: list[str], tmp_path: Path) -> None:
    assert not imported(tmp_path, *arguments) & HEAVY


@pytest.mark.slow  # a fresh process
def test_compare_needs_neither_torch_nor_mlflow(trained: Any, tmp_path: Path) -> None:
    folder = str(trained[0].run)
    modules = imported(tmp_path, "compare", folder, folder, "--no-predict")
    assert not modules & {*HEAVY, "data_synth"}


@pytest.mark.slow  # a fresh process
def test_leaderboard_needs_no_torch(tmp_path: Path) -> None:
    modules = imported(tmp_path, "leaderboard", "--tracking-uri", "sqlite:///none.db", status=2)
    assert "mlflow" in modules
    assert not modules & {*LEARNING, "matplotlib", "data_synth"}


@pytest.mark.parametrize("command", ["train", "validate"])
def test_a_wrong_config_needs_no_library(command: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("name: 3")
    assert not imported(tmp_path, command, "wrong.yaml", status=2) & HEAVY


@pytest.mark.slow  # torch in a process of its own
def test_a_training_starts_without_what_only_its_end_may_need() -> None:
    unused = {
        "matplotlib",
        "sklearn",
        "scipy.stats",
        "data_synth",
        "lightgbm",
        "torchrec",
        "mlflow",
    }
    code = f"import recsys_mtl.runs.train, sys; print(*{unused} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow  # torch and torchrec in a process of their own
def test_doctor_imports_nothing_itself(tmp_path: Path) -> None:
    assert not imported(tmp_path, "doctor") & HEAVY


def test_python_m_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recsys_mtl", "schema", "--nope"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: No such option: --nope (see recsys-mtl --help)\n"


@pytest.mark.slow  # fresh processes
@pytest.mark.parametrize(
    ("given", "turns"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_wait_briefly_unless_the_user_says_how(given: dict[str, str], turns: str) -> None:
    free = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import recsys_mtl, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=free | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [turns]
