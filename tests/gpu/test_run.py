"""The run for a GPU works from a checkout alone, without the heavy libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKED = """
import importlib.metadata, sys
for name in ("mlflow", "torchrec", "fbgemm_gpu", "torchjd", "optuna", "fastapi", "lightgbm"):
    sys.modules[name] = None
of = importlib.metadata.distribution
def distribution(name):
    if name.replace("-", "_") == "recsys_mtl":
        raise importlib.metadata.PackageNotFoundError(name)
    return of(name)
importlib.metadata.distribution = distribution
"""


def environment(folder: Path) -> dict[str, str]:
    """Of a process in which these libraries do not import and the package is not installed."""
    (folder / "sitecustomize.py").write_text(BLOCKED)
    return os.environ | {"PYTHONPATH": f"{folder}:{ROOT}", "PYTHON": sys.executable}


@pytest.mark.slow
def test_a_checkout_trains_without_the_heavy_libraries(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv[1:] = ['--device', 'cpu']\n"
        "import tests.gpu.fast, tests.gpu.right, tests.gpu.waiting, tests.gpu.whole as whole\n"
        "assert sys.modules['mlflow'] is None\n"
        "sys.exit(whole.main())"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert "| demo | CPU |" in process.stdout


def test_a_part_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho because of this\nexit 3\n")
    broken.chmod(0o755)
    process = subprocess.run(
        ["bash", "tests/gpu/run.sh"],
        cwd=ROOT,
        env=os.environ | {"PYTHON": str(broken)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    for part in ("right", "waiting", "feed", "fast", "whole"):
        assert f"FAIL {part} (exit code 3" in process.stdout
    assert process.stdout.count("because of this") == 5
