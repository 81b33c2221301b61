"""Lines of the bench that compare: what they print, and that their workers run."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.printed import HERE, printed


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(HERE)
    import run

    monkeypatch.setattr(run.workers, "rows", lambda number, tasks: Path("rows.parquet"))
    return run


def measure(run: Any, name: str, **asked: int) -> Any:
    return run.BENCHES[name](Namespace(**asked))


def test_two_processes_beside_one(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speeds = {("1", "2"): iter([100.0, 200.0, 50.0]), ("2", "1"): iter([150.0, 180.0, 100.0])}

    def worker(script: str, path: str, *arguments: str) -> dict[str, float]:
        return {"training_rows_per_second": next(speeds[arguments])}  # type: ignore[index]

    monkeypatch.setattr(run.workers, "worker", worker)
    assert measure(run, "processes", rounds=3, rows=1000)["ratio"] == 1.5
    shown = capsys.readouterr().out
    assert "two processes, a thread each        150 rows/s" in shown
    assert "two processes train 1.50 x the rows of one" in shown


def test_a_resumed_stream_beside_one_from_its_start(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"first batch": 1.0, "last batch": 2.0, "read through": 40.0}
    monkeypatch.setattr(run.workers, "worker", lambda script, path: {"seconds": dict(seconds)})
    assert measure(run, "restart", restart_rows=1000)["ratio"] == 0.05
    assert "takes 0.050 x reading it through" in capsys.readouterr().out


def test_encoding_beside_reading(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def worker(script: str, path: str, what: str, rounds: str, threads: int | None) -> Any:
        assert threads == (None if what == "stream" else 1)
        return {"rows": 900, "seconds": {what: [4.0, 3.0, 9.0], "other": [2.0, 2.0, 3.0]}}

    monkeypatch.setattr(run.workers, "worker", worker)
    result = measure(run, "preparing", rounds=3, rows=10, restart_rows=20)
    assert {what: of["ratio"] for what, of in result.items()} == {
        "encode": 2.0, "fit": 2.0, "stream": 2.0
    }  # fmt: skip
    assert "encode takes 2.00 x the time of other" in capsys.readouterr().out


@pytest.mark.slow  # a process
def test_the_tables_worker_measures() -> None:
    result = json.loads("".join(printed("tables.py", "plain", "40")))
    assert set(result["over"]) == {"initialise", "keep the best", "bring it back", "write"}


@pytest.mark.slow  # processes
@pytest.mark.parametrize(
    "worker",
    [
        ("processes.py", "2", "1"),
        ("restart.py",),
        ("threads.py", "fp32", "2", "0"),
        ("preparing.py", "stream", "1"),
        ("first_step.py",),
        ("checkpoints.py", "100", "1"),
    ],
)
def test_a_worker_measures(
    worker: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE)
    import data

    path = data.write(tmp_path / "rows.parquet", 3000, 2)
    name, *rest = worker
    result = json.loads(printed(name, str(path), *rest)[-1])
    if name == "restart.py":
        assert set(result["seconds"]) == {"first batch", "last batch", "read through"}
    elif name == "preparing.py":
        assert {key: len(of) for key, of in result["seconds"].items()} == {
            "several threads": 1, "one thread": 1
        }  # fmt: skip
    elif name == "first_step.py":
        walls, cpu = zip(*result.values(), strict=True)
        assert list(result) == ["imports", "prepared", "first step"]
        assert sorted(walls) == list(walls)
        assert sorted(cpu) == list(cpu)
    elif name == "checkpoints.py":
        assert result["seconds"].keys() == {"waits", "cpu"}
        assert all(seconds > 0 for seconds in (result["mib"], *result["seconds"].values()))
    elif name == "threads.py":
        assert all(seconds > 0 for seconds in result.values())
    else:
        assert result["training_rows_per_second"] > 0
    assert [file.name for file in tmp_path.iterdir()] == ["rows.parquet"]


def test_the_kernels_over_their_floor(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"floor": [1.0, 2.0], "eager": [2.0, 5.0], "kernel": [1.5, 2.0]}
    monkeypatch.setattr(
        run.workers, "worker", lambda *arguments, threads: {"small fp32 step": seconds}
    )
    ratios = measure(run, "kernels", rounds=2, rows=1000)["ratio_to_floor"]
    assert ratios["small fp32 step"] == {"floor": 1.0, "eager": 2.25, "kernel": 1.25}
    assert "kernel 1,750.0 ms (1.25 x)" in capsys.readouterr().out
