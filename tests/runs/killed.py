"""Runs commands in forked processes, which start at once, and kills them at a moment.

A line of JSON in, a line out: `{"argv": […], "log": PATH, "seconds": 1.5, "change": 7}` runs the
command, and kills it after so much time or before so many changes of files; the answer has its
`status`, `seconds` and `changes`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow  # noqa: F401  # now, so that a fork has it
import torchrec  # noqa: F401

from recsys_mtl.cli.main import main
from recsys_mtl.runs import train

MODIFIERS = ((Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (os, "replace"))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counting(before: int | None) -> Callable[[], int]:
    """Count changes of files, and die before one of them."""
    count = [0]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            if count[0] == before:
                die()
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
    changes = counting(job.get("change"))
    train.prove_model = lambda *_, **__: 0.0  # a process of half a minute
    if (seconds := job.get("seconds")) is not None:
        threading.Timer(seconds, die).start()
    status = main(job["argv"])
    os.write(answer, json.dumps({"changes": changes()}).encode())
    os._exit(status)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """The outcome of a command."""
    begun = time.monotonic()
    read, write = os.pipe()
    if not (pid := os.fork()):
        try:
            child(job, write)
        finally:
            os._exit(99)
    os.close(write)
    with os.fdopen(read) as answer:
        outcome_of_child = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    outcome = {"status": status, "seconds": time.monotonic() - begun}
    return outcome | (json.loads(outcome_of_child) if outcome_of_child else {})


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
