"""Training on two processes is training on one: the same losses, the same bits in both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training import resharded, two_ranks
from tests.training.evaluated import SIZES, early, scored
from tests.training.two_ranks import BROKEN, CASES, trained

pytestmark = pytest.mark.slow  # processes
ROOT = Path(__file__).parents[2]
Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[Results]:
    """What both processes leave, of all cases: one launch, as imports take most of the time."""
    (folder / "begun.json").write_text(json.dumps(resharded.begun(folder)))
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", two_ranks.__name__, str(rank), folder], env=environment, cwd=ROOT
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def difference(own: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest of losses, relative to those above 1."""
    pairs = zip(own["losses"], other["losses"], strict=True)
    return max(abs(a - b) / max(1, abs(a)) for step in pairs for a, b in zip(*step, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(ranks: list[Results], name: str) -> None:
    alone = trained(name, CASES[name])
    first, second = (results[name] for results in ranks)
    assert difference(first, second) == 0
    assert first["hash"] == second["hash"]
    assert difference(alone, first) <= 1e-6
    assert alone["lent"] != 0  # of borrowing: there is a receiver


@pytest.mark.parametrize("title", BROKEN)
def test_what_is_broken_on_purpose_is_seen(ranks: list[Results], title: str) -> None:
    alone = trained(BROKEN[title][0], CASES[BROKEN[title][0]])
    first, second = (results[title] for results in ranks)
    differ = first["hash"] != second["hash"]
    assert differ or difference(alone, first) > 1e-5


def test_a_trainer_counts_the_rows_of_both(ranks: list[Results]) -> None:
    first, second = (results["fitted"] for results in ranks)
    assert first == second
    for alone, epoch in zip(two_ranks.fitted(), first, strict=True):
        assert epoch.pop("losses") == pytest.approx(alone.pop("losses"), abs=1e-6)
        assert epoch == alone


@pytest.mark.parametrize("name", SIZES)
def test_two_processes_score_the_rows_of_one(ranks: list[Results], name: str) -> None:
    alone = json.loads(json.dumps(scored(name)))
    first, second = (results["evaluated"]["scores"][name] for results in ranks)
    assert first["numbers"] == second["numbers"]
    assert flat(first) == pytest.approx(flat(alone), rel=1e-5, abs=1e-6, nan_ok=True)
    assert not any(second["rows"].values())


def test_two_processes_stop_early_as_one(ranks: list[Results]) -> None:
    (alone, *decided) = early()
    first, second = (results["evaluated"]["early"] for results in ranks)
    assert first == second
    assert first[1:] == decided
    assert decided[1] == "early"
    assert first[0] == pytest.approx(alone, abs=1e-5)


def test_a_wrong_row_of_one_process_ends_the_evaluation_of_both(ranks: list[Results]) -> None:
    texts = [results["evaluated"]["wrong"] for results in ranks]
    assert texts == ["row 20: a label that may not be"] * 2


def test_rows_that_are_not_shared_are_scored_by_one_process(ranks: list[Results]) -> None:
    (alone,) = ranks[1]["evaluated"]["alone"]
    assert flat(alone) == pytest.approx(flat(json.loads(json.dumps(scored("memory")))), nan_ok=True)


def test_from_one_process_to_rows_to_tables_to_one(ranks: list[Results], folder: Path) -> None:
    first, second = (results["resharded"] for results in ranks)
    at_end = json.loads((folder / "begun.json").read_text())
    for leg in ("row", "table"):
        assert flat(first[leg][0]) == pytest.approx(flat(at_end), abs=1e-6)
        assert first[leg][:2] == second[leg][:2]
        at_end = first[leg][1]
        assert first[leg][2] == at_end  # alone, while the other one answers
        assert second[leg][2] is None
    last, difference_of_state = resharded.ended(folder)
    assert flat(last) == pytest.approx(flat(at_end), abs=1e-6)
    assert difference_of_state < 1e-6


def test_a_process_needs_memory_for_its_rows_alone(ranks: list[Results]) -> None:
    first, second = (results["large"] for results in ranks)
    assert first["losses"] == second["losses"]
    assert (first["rows"], second["rows"]) == (resharded.LARGE.rows, None)
    assert max(first["peak"], second["peak"]) < 0.7 * resharded.LARGE_MB


def flat(value: Any, name: str = "") -> dict[str, float]:
    """The numbers of JSON by path."""
    if not isinstance(value, dict | list):
        return {name: float(value)}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: v for key, item in items for k, v in flat(item, f"{name}/{key}").items()}


def test_what_processes_exchange(ranks: list[Results]) -> None:
    first, second = (results["exchanged"] for results in ranks)
    own = {"together": (0, 1), "mine": ([0, 1, 1, 2], [0, 0, 1, 1])}
    assert {name: (first.pop(name), second.pop(name)) for name in own} == own
    assert first == second
    differ, user = first.pop("errors")
    assert differ.startswith("weights differ between processes")
    assert user == "data: missing column; expected x; found y -> add it"
    assert first == {
        "broadcast": {"rank": 0, "text": ""},
        "gathered": [[], [[1, 1]]],
        "nothing": [[], []],
        "anywhere": [True, False],
    }
