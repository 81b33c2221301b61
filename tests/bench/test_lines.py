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


def test_tables_of_both_backends(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def worker(script: str, *arguments: str, threads: int | None = None) -> Any:
        if script == "tables.py":
            return {"mib": 10.0, "over": {"write": 0.5}}
        assert (arguments, threads) == (("30", "256", "1024", "8192"), 1)
        return {"weights": 7, "seconds": {"ids": {"plain": [3.0, 1.0], "torchrec": [2.0, 2.0]}}}

    monkeypatch.setattr(run.workers, "worker", worker)
    result = measure(run, "tables", rounds=3, table_rows=1000)
    assert result["small"]["ratio"] == {"ids": 1.0}
    assert "ids: plain takes 1.00 x the time of torchrec" in capsys.readouterr().out


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


WORKERS = {
    "tables": ("plain", "40"),
    "small_tables": ("2", "64"),
    "restart": ("rows.parquet",),
    "threads": ("rows.parquet", "fp32", "2", "0"),
    "preparing": ("rows.parquet", "stream", "1"),
    "checkpoints": ("rows.parquet", "100", "1"),
    "first_step": ("rows.parquet",),  # ends the process
}
IN_ONE_PROCESS = """
import json, os, runpy, sys
from pathlib import Path
here, folder, asked = sys.argv[1:]
sys.path.insert(0, here)
import data
os.chdir(folder)
data.write(Path("rows.parquet"), 3000, 2)
for name, words in json.loads(asked).items():
    sys.argv[1:] = words
    runpy.run_path(f"{here}/{name}.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    """What the workers print, in one process, as imports take most of the time."""
    lines = printed("-c", IN_ONE_PROCESS, str(HERE), str(folder), json.dumps(WORKERS))
    results = [json.loads(line) for line in lines if line.startswith("{")]
    return dict(zip(WORKERS, results, strict=True))


@pytest.mark.slow  # a process
def test_the_workers_measure(measured: dict[str, Any], folder: Path) -> None:
    assert {"initialise", "keep the best", "bring it back", "write"} == set(
        measured["tables"]["over"]
    )
    small = measured["small_tables"]["seconds"]
    assert list(small) == ["ids of 64 rows", "sequences of 64 rows"]
    for seconds in small.values():
        assert {backend: len(of) for backend, of in seconds.items()} == {"plain": 2, "torchrec": 2}
    assert set(measured["restart"]["seconds"]) == {"first batch", "last batch", "read through"}
    assert all(seconds > 0 for seconds in measured["threads"].values())
    assert {key: len(of) for key, of in measured["preparing"]["seconds"].items()} == {
        "several threads": 1, "one thread": 1
    }  # fmt: skip
    checkpoints = measured["checkpoints"]
    assert checkpoints["seconds"].keys() == {"waits", "cpu"}
    assert all(value > 0 for value in (checkpoints["mib"], *checkpoints["seconds"].values()))
    assert list(measured["first_step"]) == ["imports", "prepared", "first step"]
    walls, cpu = zip(*measured["first_step"].values(), strict=True)
    assert sorted(walls) == list(walls)
    assert sorted(cpu) == list(cpu)
    assert [file.name for file in folder.iterdir()] == ["rows.parquet"]


@pytest.mark.slow  # processes
@pytest.mark.usefixtures("measured")
def test_two_processes_measure(folder: Path) -> None:
    result = json.loads(printed("processes.py", str(folder / "rows.parquet"), "2", "1")[-1])
    assert result["training_rows_per_second"] > 0


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
