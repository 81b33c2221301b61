"""The serving bench runs, and every way to a prediction is timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.printed import printed

pytestmark = pytest.mark.slow


ASKED = {"make": (), "latency": ("10",), "few": ("3",), "predict": ()}
WORKER = """
import json, sys
from pathlib import Path
import data, serving
rows, folder, asked = sys.argv[1:]
data.write(Path(rows), 1500, 3)
for what, rest in json.loads(asked).items():
    sys.argv[1:] = [what, rows, folder, *rest]
    serving.main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    """What the bench measures, in one process, as imports take most of the time."""
    rows = str(folder / "rows.parquet")
    lines = printed("-c", WORKER, rows, str(folder), json.dumps(ASKED))[-len(ASKED) :]
    return dict(zip(ASKED, map(json.loads, lines), strict=True))


def test_every_way_is_timed_for_both_sizes(measured: dict[str, Any]) -> None:
    seconds = measured["latency"]
    assert {name: len(values) for name, values in seconds.items()} == {
        f"{way}, {rows}": count
        for way in ("mlflow HTTP", "serve HTTP", "pyfunc", "Predictor", "exported")
        for rows, count in ((1, 10), (512, 1))
    }
    assert all(value > 0 for values in seconds.values() for value in values)


def test_a_few_rows_are_timed_in_turns(measured: dict[str, Any]) -> None:
    ways = measured["few"]
    assert {rows: [len(each) for each in of.values()] for rows, of in ways.items()} == {
        "1": [3, 3],
        "8": [3, 3],
        "64": [3, 3],
    }


@pytest.mark.usefixtures("measured")
def test_a_server_is_asked_by_many(folder: Path) -> None:
    lines = printed("serve.py", str(folder / "rows.parquet"), str(folder), "24", "50")
    result = json.loads(lines[-1])
    assert {name: len(of["seconds"]) for name, of in result["clients"].items()} == {
        "1": 24, "8": 24, "32": 24,
    }  # fmt: skip
    assert 0 < result["early_mib"] < 2 * result["late_mib"]


def test_files_are_scored(measured: dict[str, Any], folder: Path) -> None:
    assert measured["predict"]["rows_per_second"] > 0
    assert (folder / "scores.parquet").is_file()
