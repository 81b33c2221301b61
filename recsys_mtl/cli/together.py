"""`train --processes N`: one command that several processes run, and one report."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import partial

from recsys_mtl.cli.run import configure_logging, exit_code
from recsys_mtl.cli.status import DONE, LOST
from recsys_mtl.errors import wrong
from recsys_mtl.processes import launch, require_one_process


def train_together(work: Callable[[], int], count: int) -> int:
    """Do the same work in several processes and give the exit code of all.

    Args:
        work: picklable; a command that joins the other processes.
        count: how many.

    Raises:
        UserError: a process was killed, or did not answer the others; or this one is already one
            of several.
    """
    require_one_process()
    verbose = logging.getLogger("recsys_mtl").isEnabledFor(logging.DEBUG)
    codes = launch(partial(_command, work, verbose), count)
    failed = [code for code in codes if code]
    killed = [rank for rank, code in enumerate(codes) if code is not None and code < 0]
    if killed and all(code < 0 or code == LOST for code in failed):
        name = signal.Signals(-(codes[killed[0]] or 0)).name
        raise wrong(
            f"process {killed[0]} of {count} was killed by {name}, which ended the training",
            where="--processes",
            fix="where memory ran out (SIGKILL): start fewer processes, or lower"
            " training.batch_size, data.shuffle_buffer or data.memory_limit_mb",
        )
    reported = [code for code in failed if code > 0 and code != LOST]
    if failed and not reported:
        raise wrong(
            "a process did not answer the others in time, which ended the training",
            where="training.distributed.timeout_s",
            fix="raise it, where one process may have work of its own for so long",
        )
    return reported[0] if reported else DONE


def _command(work: Callable[[], int], verbose: bool) -> int:
    configure_logging(verbose=verbose)
    return exit_code(work)
