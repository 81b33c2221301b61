"""Runs commands that come as lines of JSON; waits for a line more where something may happen.

That is at the lock of the registry, so that two of these processes reach it at the same moment,
and where `{"argv": […], "epochs": […]}` says so, before the tracker gets an epoch.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

from recsys_mtl.cli.main import main
from recsys_mtl.lifecycle import promote
from recsys_mtl.runs import train
from recsys_mtl.runs.checkpointing import RunCheckpoints
from recsys_mtl.serving import mlflow_model

locked = promote.locked
report = RunCheckpoints._report
epochs: set[int] = set()
train.prove_model = lambda *_, **__: 0.0  # a process of half a minute
mlflow_model.pack_package = lambda to: to.touch()


def say(**values: Any) -> None:
    assert sys.__stdout__ is not None
    sys.__stdout__.write(json.dumps(values) + "\n")
    sys.__stdout__.flush()


@contextlib.contextmanager
def waiting(*args: Any, **kwargs: Any) -> Iterator[Any]:
    say(at="the lock")
    sys.stdin.readline()
    with locked(*args, **kwargs) as check:
        yield check


def reporting(self: RunCheckpoints, epoch: Any) -> None:
    if epoch.number in epochs:
        say(epoch=epoch.number)
        sys.stdin.readline()
    report(self, epoch)


promote.locked = waiting
RunCheckpoints._report = reporting  # type: ignore[method-assign]

if __name__ == "__main__":
    for line in iter(sys.stdin.readline, ""):
        job, errors = json.loads(line), io.StringIO()
        epochs = set(job.get("epochs", ()))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            status = main(job["argv"])
        say(status=status, error=errors.getvalue())
