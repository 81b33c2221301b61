"""The combiners' bench runs, and its contestants compute the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.printed import printed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("bench") / "rows.parquet"
    printed(
        "-c",
        "import sys, data; from pathlib import Path; data.write(Path(sys.argv[1]), 1200, 5)",
        str(data),
    )
    return data


ASKED = {
    "agree": ("agree",),
    "steps": ("steps", "2"),
    "fixed": ("passes", "cagt, fixed 8192"),
    "expert": ("passes", "cagt, expert"),
    "cosines": ("cosines", "2"),
}
WORKER = """
import json, sys
from combiners import MEASURES, Bench
for what, *rest in json.loads(sys.argv[2]):
    print(json.dumps(MEASURES[what](Bench(sys.argv[1], "48", "fp32"), *rest)))
"""


@pytest.fixture(scope="module")
def measured(path: Path) -> dict[str, Any]:
    """What the bench measures, in one process, as imports take most of the time."""
    lines = printed("-c", WORKER, str(path), json.dumps([*ASKED.values()]))[-len(ASKED) :]
    return dict(zip(ASKED, map(json.loads, lines), strict=True))


def test_every_way_of_torchjd_takes_our_step(measured: dict[str, Any]) -> None:
    differences = measured["agree"]
    assert len(differences) == 4 * 8
    assert {name: d for name, d in differences.items() if d > 1e-4} == {}


def test_each_contestant_is_timed_in_each_round(measured: dict[str, Any]) -> None:
    turns = measured["steps"]
    assert len(turns) == 9 + 4 * 2
    assert all(len(seconds) == 2 for seconds in turns.values())


@pytest.mark.parametrize("block", ["fixed", "expert"])
def test_cagt_reads_the_gradients_at_most_four_times(measured: dict[str, Any], block: str) -> None:
    cost = measured[block]
    assert cost["elements"] == 5 * (654_336 + 48 * 128)
    assert 3 <= cost["reads"] <= 4


def test_all_rows_and_some_rows_measure_cosines(measured: dict[str, Any]) -> None:
    seen = measured["cosines"]
    assert {name: [len(step) for step in steps] for name, steps in seen.items()} == {
        name: [10, 10] for name in ("all rows", "an eighth of the rows", "features")
    }
