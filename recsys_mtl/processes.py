"""Worker processes that end with their parent and ignore a Ctrl-C meant for it.

And those that train one model together, see `launch`.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Any, TypeVar

from recsys_mtl.errors import UserError, wrong

Result = TypeVar("Result")
_TORCHRUN = "WORLD_SIZE"
_MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_GRACE = 10.0
"""Seconds that processes have to end after another one failed, and again after SIGTERM."""


class LostError(UserError):
    """Another process of this training ended, or did not answer in time."""


class ReportedError(UserError):
    """A mistake that another process reports."""


def launched() -> bool:
    """Whether this is one of several processes that torchrun, or `launch`, started."""
    return _count(_TORCHRUN) > 1


def silent() -> bool:
    """Whether this is one of several processes, and another one speaks for it."""
    return launched() and os.environ.get("RANK", "0") != "0"


def require_one_process(*, but_torchrun: bool = False) -> None:
    """Refuse to be one of several processes that a launcher started: each would do all the work.

    Args:
        but_torchrun: processes of torchrun can share the work, those of MPI's launchers cannot.

    Raises:
        UserError: it is, by the launcher's environment variables.
    """
    if but_torchrun and launched():
        return
    for name in _MPI if but_torchrun else (_TORCHRUN, *_MPI):
        count = _count(name)
        if count > 1:
            raise wrong(
                "several processes cannot share this job yet",
                where=name,
                expected="1, or unset",
                found=count,
                fix=f"start one process, without torchrun or mpirun; or unset {name}",
            )


@contextmanager
def reported_once() -> Iterator[None]:
    """Mistakes inside are the same in all processes of a machine: the first one reports them.

    Raises:
        ReportedError: another process reports the mistake.
    """
    try:
        yield
    except UserError as error:
        if launched() and os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(3)  # a launcher ends all as soon as one has ended
            raise ReportedError(*error.problems) from error
        raise


def launch(work: Callable[[], int], count: int) -> list[int | None]:
    """Do the same work in several processes, in the environment that torchrun gives them.

    Signals are passed on to them. As soon as one fails the others have to end.

    Args:
        work: picklable; gives the process' exit code.
        count: how many.

    Returns:
        Exit codes by rank, minus the signal's number where one ended a process; None: it did not
        end by itself when another one had failed.
    """
    context = multiprocessing.get_context("spawn")
    shared = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME") or _loopback(),
    }
    processes = [
        context.Process(target=_run, args=(shared | {"RANK": str(r), "LOCAL_RANK": str(r)}, work))
        for r in range(count)
    ]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # until they have handlers of their own
    try:
        for process in processes:
            process.start()
        with _passed_on(processes):
            ended = _wait(processes)
    finally:
        signal.signal(signal.SIGINT, before)
        _send(signal.SIGKILL, processes)
    return [None if process in ended else process.exitcode for process in processes]


def _count(name: str) -> int:
    text = os.environ.get(name, "").strip()
    return int(text) if text.isdecimal() else 1


def _loopback() -> str:
    return "lo0" if sys.platform == "darwin" else "lo"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _passed_on(processes: Sequence[multiprocessing.process.BaseProcess]) -> Iterator[None]:
    """Inside, the processes get the signals that this one is sent."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        _send(number, processes)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(number: int, processes: Sequence[multiprocessing.process.BaseProcess]) -> None:
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)


def _wait(
    processes: Sequence[multiprocessing.process.BaseProcess],
) -> list[multiprocessing.process.BaseProcess]:
    """Until all have ended; where one fails, the others have `_GRACE` seconds.

    Returns:
        Those that did not use them.
    """
    late: list[multiprocessing.process.BaseProcess] = []
    signals, deadline = [signal.SIGKILL, signal.SIGTERM], math.inf
    while alive := [process for process in processes if process.is_alive()]:
        left = deadline - time.monotonic()
        wait([p.sentinel for p in alive], None if left == math.inf else max(0.0, left))
        if deadline == math.inf and any(process.exitcode for process in processes):
            deadline = time.monotonic() + _GRACE
        elif time.monotonic() >= deadline and signals:
            number, deadline, late = signals.pop(), time.monotonic() + _GRACE, late or alive
            _send(number, processes)
    return late


def _run(environment: Mapping[str, str], work: Callable[[], int]) -> None:
    """One process of `launch`."""
    os.setsid()  # the terminal's Ctrl-C reaches the parent alone, which passes it on
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(work())


@contextmanager
def worker_pool(
    workers: int, start: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Spawned processes for work whose results are written atomically.

    Where the block ends with an error or a Ctrl-C, no further work starts and they are killed.

    Args:
        workers: how many.
        start: called first in each of them, with `arguments`.
        arguments: of `start`.
    """
    before = set(multiprocessing.active_children())
    signal.siginterrupt(signal.SIGINT, True)  # polars restarts the wait: Ctrl-C would be ignored
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(start, arguments),
    ) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(multiprocessing.active_children()) - before:
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)  # the pool's own thread reaps them
            raise


def as_they_come(
    work: Callable[..., Result],
    jobs: Sequence[tuple[Any, ...]],
    *,
    workers: int,
    start: Callable[..., None] | None = None,
) -> Iterator[Result]:
    """The results of `work(*job, threads=N)` in a pool, each as soon as it is available.

    Args:
        work: a function of a module; N is its share of the cores.
        jobs: its arguments.
        workers: how many processes.
        start: see `worker_pool`.

    Raises:
        UserError: a process was killed.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    with worker_pool(workers, start) as pool:
        waiting = {pool.submit(work, *job, threads=threads) for job in jobs}
        for done in as_completed(waiting):
            try:
                result = done.result()
            except BrokenProcessPool as error:
                raise killed_worker(workers) from error
            yield result


def killed_worker(workers: int) -> UserError:
    """What to report of a pool of so many processes one of which was killed."""
    fix = "try fewer --processes, for memory; the same command resumes"
    return wrong("a worker process was killed", where="--processes", found=workers, fix=fix)


def _start_worker(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its workers: they would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
