from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.processes import as_they_come, require_one_process, worker_pool


def mark(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()


def killed(*, threads: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def take_long(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_one_of_several_processes_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for harmless in ("", "1", "0", "many"):
        monkeypatch.setenv(name, harmless)
        require_one_process()
    monkeypatch.setenv(name, "2")
    with pytest.raises(UserError, match=f"{name}: several processes cannot share this job yet"):
        require_one_process()


@pytest.mark.slow
def test_workers_start_with_what_they_are_given_and_end_with_the_block(tmp_path: Path) -> None:
    with worker_pool(2, mark, str(tmp_path)) as pool:
        processes = set(pool.map(take_long, [0.2, 0.2]))
    assert {path.name for path in tmp_path.iterdir()} >= {str(pid) for pid in processes}
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_killed_worker_is_one_line() -> None:
    message = "--processes: a worker process was killed; found 1 -> try fewer --processes"
    with pytest.raises(UserError, match=message):
        list(as_they_come(killed, [()], workers=1))


@pytest.mark.slow
def test_an_error_ends_them_at_once() -> None:
    workers: list[multiprocessing.Process] = []

    def interrupted() -> None:
        with worker_pool(2) as pool:
            waiting = [pool.submit(take_long, 3600.0) for _ in range(4)]
            while not any(future.running() for future in waiting):
                time.sleep(0.05)
            workers.extend(multiprocessing.active_children())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert multiprocessing.active_children() == []
    assert {worker.exitcode for worker in workers} == {-signal.SIGKILL}  # none ended its task
