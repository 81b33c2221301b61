"""Worker processes that end with their parent and ignore a Ctrl-C meant for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

from recsys_mtl.errors import wrong

Result = TypeVar("Result")
_WORLDS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # of torchrun and MPI's launchers


def require_one_process() -> None:
    """Refuse to be one of several processes that a launcher started: each would do all the work.

    Raises:
        UserError: it is, by the launcher's environment variables.
    """
    for name in _WORLDS:
        count = os.environ.get(name, "").strip()
        if count.isdecimal() and int(count) > 1:
            raise wrong(
                "several processes cannot share this job yet",
                where=name,
                expected="1, or unset",
                found=count,
                fix=f"start one process, without torchrun or mpirun; or unset {name}",
            )


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
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    with worker_pool(workers, start) as pool:
        waiting = {pool.submit(work, *job, threads=threads) for job in jobs}
        for done in as_completed(waiting):
            yield done.result()


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
