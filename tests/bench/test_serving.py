"""The serving bench runs, and every way to a prediction is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    script = "import sys, data; from pathlib import Path; data.write(Path(sys.argv[1]), 1500, 3)"
    rows = str(folder / "rows.parquet")
    subprocess.run([sys.executable, "-c", script, rows], check=True, cwd=HERE)
    ask(folder, "make")
    return folder


def ask(folder: Path, what: str, *rest: str, script: str = "serving.py") -> Any:
    rows = str(folder / "rows.parquet")
    words = [word for word in (what, rows, str(folder), *rest) if word]
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_way_is_timed_for_both_sizes(folder: Path) -> None:
    seconds = ask(folder, "latency", "10")
    assert {name: len(values) for name, values in seconds.items()} == {
        f"{way}, {rows}": count
        for way in ("mlflow HTTP", "serve HTTP", "pyfunc", "Predictor", "exported")
        for rows, count in ((1, 10), (512, 1))
    }
    assert all(value > 0 for values in seconds.values() for value in values)


def test_a_few_rows_are_timed_in_turns(folder: Path) -> None:
    seconds = ask(folder, "few", "3")
    assert {rows: [len(each) for each in ways.values()] for rows, ways in seconds.items()} == {
        "1": [3, 3],
        "8": [3, 3],
        "64": [3, 3],
    }


def test_a_server_is_asked_by_many(folder: Path) -> None:
    result = ask(folder, "", "24", "50", script="serve.py")
    assert {name: len(of["seconds"]) for name, of in result["clients"].items()} == {
        "1": 24, "8": 24, "32": 24,
    }  # fmt: skip
    assert 0 < result["early_mib"] < 2 * result["late_mib"]


def test_files_are_scored(folder: Path) -> None:
    assert ask(folder, "predict")["rows_per_second"] > 0
    assert (folder / "scores.parquet").is_file()
