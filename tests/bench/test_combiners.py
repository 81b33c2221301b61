"""The combiners' bench runs, and its contestants compute the same."""

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
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("bench") / "rows.parquet"
    script = "import sys, data; from pathlib import Path; data.write(Path(sys.argv[1]), 1200, 5)"
    subprocess.run([sys.executable, "-c", script, str(data)], check=True, cwd=HERE)
    return data


def measure(what: str, path: Path, *rest: str) -> Any:
    command = [sys.executable, str(HERE / "combiners.py"), what, str(path), "48", "fp32", *rest]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_way_of_torchjd_takes_our_step(path: Path) -> None:
    differences = measure("agree", path)
    assert len(differences) == 4 * 8
    assert {name: d for name, d in differences.items() if d > 1e-4} == {}


def test_each_contestant_is_timed_in_each_round(path: Path) -> None:
    turns = measure("steps", path, "2")
    assert len(turns) == 9 + 4 * 2
    assert all(len(seconds) == 2 for seconds in turns.values())


@pytest.mark.parametrize("method", ["cagt, fixed 8192", "cagt, expert"])
def test_cagt_reads_the_gradients_at_most_four_times(path: Path, method: str) -> None:
    cost = measure("passes", path, method)
    assert cost["elements"] == 5 * (654_336 + 48 * 128)
    assert 3 <= cost["reads"] <= 4


def test_all_rows_and_some_rows_measure_cosines(path: Path) -> None:
    seen = measure("cosines", path, "2")
    assert {name: [len(step) for step in steps] for name, steps in seen.items()} == {
        name: [10, 10] for name in ("all rows", "an eighth of the rows", "features")
    }
