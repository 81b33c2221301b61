"""What a start imports: sets of modules, not seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "mlflow", "polars", "numpy", "pandas", "scipy", "sklearn", "matplotlib"}

CODE = """
import json, sys
from recsys_mtl.cli.main import main
status = main(sys.argv[2:])
open(sys.argv[1], "w").write(json.dumps([status, sorted({m.split(".")[0] for m in sys.modules})]))
"""


def imported(tmp_path: Path, *arguments: str) -> set[str]:
    """The top-level packages that a command has imported at its end."""
    left = tmp_path / "modules.json"
    command = [sys.executable, "-c", CODE, str(left), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    status, modules = json.loads(left.read_text())
    assert status == 0
    return set(modules)


def test_the_package_alone() -> None:
    code = "import recsys_mtl, sys; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {*HEAVY, "pydantic", "typer", "yaml"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["promote", "--help"], ["schema"]]
)
def test_help_and_schema_need_no_library(arguments: list[str], tmp_path: Path) -> None:
    assert not imported(tmp_path, *arguments) & HEAVY


def test_python_m_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recsys_mtl", "schema", "--nope"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: No such option: --nope (see recsys-mtl --help)\n"
