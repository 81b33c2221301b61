"""Ablations in several processes, and ones that are killed or interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from recsys_mtl.ablation.unit import GENERATED
from tests.ablations import SYNTHETIC, numbers, result_of, run, stored
from tests.waiting import has_ended, wait_for

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """The command line in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "recsys_mtl.cli.main", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=hear_ctrl_c,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def hear_ctrl_c() -> None:
    """What runs in the background of a shell ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow  # processes
def test_a_killed_ablation_resumes_in_two_processes_with_the_results_of_one(
    ablation: Any, toy: Any, start: Start
) -> None:
    path, out = ablation(**SYNTHETIC), toy.folder / "out"
    run(path, out=toy.folder / "undisturbed", processes=1)
    process = start("ablate", str(path), "--out", str(out), "--processes", "1")
    wait_for(lambda: (out / "units" / "published" / "seed-5.json").exists())
    process.kill()
    process.communicate()
    assert not (out / "result.json").exists()
    some = stored(out)
    assert 2 <= len(some) < 6
    run(path, out=out, processes=2)
    assert {key: stored(out)[key] for key in some} == some
    assert numbers(stored(out)) == numbers(stored(toy.folder / "undisturbed"))
    expected = result_of(toy.folder / "undisturbed")
    assert numbers(result_of(out)["summary"]) == numbers(expected["summary"])
    assert not (out / GENERATED).exists()  # the killed process may have been deleting


@pytest.mark.slow  # processes
@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_ends_soon_and_keeps_complete_units(
    processes: int, ablation: Any, toy: Any, start: Start
) -> None:
    long = {"training.epochs": 100_000, "training.early_stopping.patience": None}
    path = ablation(
        change={}, seeds={"first": 0, "count": 8},
        ready=["off"], arms={"endless": long},
    )  # fmt: skip
    out = toy.folder / "out"
    process = start("ablate", str(path), "--out", str(out), "--processes", str(processes))
    wait_for(lambda: [*(out / "units").glob("off/*.json")])  # seed 1 begins with the endless arm
    time.sleep(0.3)  # into the endless one
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert [line for line in err.splitlines() if line.startswith("error")] == ["error: interrupted"]
    assert len(stored(out)) == 1  # no other seed was begun
    wait_for(lambda: all(map(has_ended, workers)), 10)


@pytest.mark.slow  # processes
def test_workers_end_with_a_killed_parent(ablation: Any, toy: Any, start: Start) -> None:
    """Else they would write into the folder that the next call resumes in."""
    long = {"training.epochs": 100_000, "training.early_stopping.patience": None}
    path = ablation(ready=["off"], arms={"endless": long})
    out = toy.folder / "out"
    process = start("ablate", str(path), "--out", str(out), "--processes", "2")
    wait_for(lambda: [*(out / "units").glob("off/*.json")])  # seed 5 begins with the endless arm
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    process.kill()
    process.communicate()
    wait_for(lambda: all(map(has_ended, workers)), 10)
    assert [*stored(out)] == ["units/off/seed-6.json"]


@pytest.mark.slow  # processes
def test_a_mistake_in_a_worker_is_one_line(ablation: Any, toy: Any, start: Start) -> None:
    toy.rows().drop("age").write_parquet(toy.data)
    arguments = ["ablate", str(ablation()), "--out", str(toy.folder / "out"), "--processes", "2"]
    process = start(*arguments)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert [line for line in err.splitlines() if "missing column" in line] == err.splitlines()
    assert err.count("\n") == 1
