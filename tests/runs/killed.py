"""Runs commands in forked processes, which start at once, and kills them at a moment.

A line of JSON in, a line out: `{"argv": […], "log": PATH, "seconds": 1.5, "change": 7}` runs the
command, and kills it after so much time or before so many changes of files; the answer has its
`status`, `seconds` and `changes`. With `"processes": 2` so many run it together, as torchrun starts
them; the one of `rank` is killed, by `signal`, and `status` is that of each.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys_mtl.cli.main import main
from recsys_mtl.runs import train

IMPORTED = (
    "git",
    "mlflow.pyfunc.scoring_server",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "recsys_mtl.tracking.mlflow_run",
    "recsys_mtl.tracking.plots",
    "sklearn.linear_model",
    "sklearn.tree",
    "torchjd.aggregation",
    "torchrec",
)
"""What a training imports late: here before the forks, so that each has it."""
MODIFIERS = ((Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (os, "replace"))


def die(by: int) -> None:
    os.kill(os.getpid(), by)


def counting(before: int | None, by: int) -> Callable[[], int]:
    """Count changes of files, and die before one of them."""
    count = [0]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            if count[0] == before:
                die(by)
            count[0] += 1
            return original(*args, **kwargs)

        return change

    for owner, name in MODIFIERS:
        setattr(owner, name, counted(getattr(owner, name)))
    return lambda: count[0]


def child(job: dict[str, Any], answer: int) -> None:
    """Run the command and write what it took."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    by = job.get("signal", signal.SIGKILL)
    changes = counting(job.get("change"), by)
    train.prove_model = lambda *_, **__: 0.0  # a process of half a minute
    if (seconds := job.get("seconds")) is not None:
        timer = threading.Timer(seconds, die, [by])
        timer.daemon = True
        timer.start()
    status = main(job["argv"])
    os.write(answer, json.dumps({"changes": changes()}).encode())
    os._exit(status)


def forked(job: dict[str, Any]) -> tuple[int, Any]:
    """A child that runs a command: its id, and its answer as a file."""
    read, write = os.pipe()
    if not (pid := os.fork()):
        os.close(read)
        try:
            child(job, write)
        finally:
            traceback.print_exc()
            os._exit(99)
    os.close(write)
    return pid, os.fdopen(read)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """The outcome of a command."""
    begun = time.monotonic()
    world = job.get("processes", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    children = []
    for rank in range(world):
        own = job if rank == job.get("rank", 0) else job | {"seconds": None, "change": None}
        if world > 1:
            ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
            worlds = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
            os.environ |= group | ranks | worlds
        children.append(forked(own))
    for name in [name for name in os.environ if name.endswith(("RANK", "WORLD_SIZE"))]:
        del os.environ[name]
    answers = [answer.read() for _, answer in children]
    status = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in children]
    for _, answer in children:
        answer.close()
    outcome = {"status": status if world > 1 else status[0], "seconds": time.monotonic() - begun}
    return outcome | (json.loads(answers[0]) if answers[0] else {})


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
