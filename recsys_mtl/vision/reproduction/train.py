"""Trains the runs that have no result yet, several at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from recsys_mtl.processes import as_they_come
from recsys_mtl.progress import progress
from recsys_mtl.vision.reproduction.recipe import Job
from recsys_mtl.vision.reproduction.unit import Unit, run_job


def train(
    name: str, todo: Sequence[Job], root: Path | None, out: Path, *, processes: int | None
) -> None:
    """Train runs and store their results.

    Args:
        name: of the whole, for the progress.
        todo: the runs.
        root: folder of the data.
        out: the reproduction's folder.
        processes: runs that are trained at the same time; None takes one a core.

    Raises:
        UserError: the data or the weights are missing or damaged.
        KeyboardInterrupt: Ctrl-C.
    """
    with progress(f"reproduce {name}", len(todo), unit="runs") as advance:
        for unit in _units(todo, root, out, processes):
            advance(1, f"{unit['key']}, seed {unit['seed']}, rerun {unit['rerun']}")


def _units(
    todo: Sequence[Job], root: Path | None, out: Path, processes: int | None
) -> Iterator[Unit]:
    """Results as they come."""
    if not todo:
        return
    workers = min(processes or os.cpu_count() or 1, len(todo))
    if workers == 1:
        for job in todo:
            yield run_job(job, root, out)
        return
    yield from as_they_come(
        run_job, [(job, root, out) for job in todo], workers=workers, start=_quiet
    )


def _quiet() -> None:
    """What data and methods warn of has been told once, before."""
    logging.disable(logging.WARNING)
