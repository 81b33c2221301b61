"""Runs commands that come as lines of JSON, and waits at the lock of the registry for a line more.

So two of these processes reach the lock at the same moment.
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

locked = promote.locked


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


promote.locked = waiting

if __name__ == "__main__":
    for line in iter(sys.stdin.readline, ""):
        errors = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            status = main(json.loads(line))
        say(status=status, error=errors.getvalue())
