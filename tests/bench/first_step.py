"""Seconds from the start of this process to the first step of `recsys-mtl train`, as JSON.

Arguments: the Parquet file. The command is the user's; when its first step has been made, the
process prints the seconds, those of its CPU too, and ends. `imports` is until all modules of a
training are imported, `prepared` until the rows are read, fitted and encoded.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

SEEN: dict[str, list[float]] = {}


def mark(name: str) -> None:
    """Note the seconds since this process was started, and of its CPU."""
    SEEN[name] = [time.time() - psutil.Process().create_time(), time.process_time()]


def after(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with a mark when it has returned."""

    def marked(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        mark(name)
        return result

    return marked


def main() -> None:
    """Train until the first step is made."""
    from recsys_mtl.cli.main import main as command
    from recsys_mtl.runs import train
    from recsys_mtl.training.step import TrainingStep

    mark("imports")
    import ours

    from recsys_mtl.config import dump_config

    step = TrainingStep.__call__

    def first(*arguments: Any, **named: Any) -> None:
        step(*arguments, **named)
        mark("first step")
        print(json.dumps(SEEN), flush=True)
        os._exit(0)

    train.prepare = after("prepared", train.prepare)  # type: ignore[attr-defined]
    TrainingStep.__call__ = first  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "run.yaml"
        config.write_text(dump_config(ours.config(Path(sys.argv[1]).resolve(), "fp32", "memory")))
        tracking = ("--set", "tracking.enabled=false")
        sys.exit(command(["train", str(config), "--out", f"{folder}/out", *tracking]))


if __name__ == "__main__":
    main()
