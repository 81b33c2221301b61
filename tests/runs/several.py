"""The command line without its slowest check; process 1 dies in step FAULT_STEP, if that is set."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from recsys_mtl.cli.main import main


def change() -> None:
    """What differs from the command line."""
    from recsys_mtl.runs import train
    from recsys_mtl.training.step import TrainingStep

    train.prove_model = lambda *_, **__: 0.0  # a process of half a minute
    fault, made = os.environ.get("FAULT_STEP"), TrainingStep.__call__

    def step(self: TrainingStep, batch: Any, number: int = 0) -> Any:
        if os.environ["RANK"] == "1" and str(number) == fault:
            os.kill(os.getpid(), signal.SIGKILL)
        return made(self, batch, number)

    TrainingStep.__call__ = step  # type: ignore[method-assign]


if __name__ == "__mp_main__" or "RANK" in os.environ:  # the parent does without torch
    change()
if __name__ == "__main__":
    sys.exit(main())
