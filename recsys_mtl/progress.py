"""Progress of an epoch: a bar with rows/s and time left on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    """Called with the rows of each finished batch and a note (the running loss)."""

    def __call__(self, rows: float, note: str = "") -> None:
        """Report that `rows` more are done."""


@contextmanager
def progress(title: str, total: int, unit: str = "rows", *, done: int = 0) -> Iterator[Advance]:
    """Show how many of `total` rows (or other units) are done.

    Args:
        title: of the bar or the lines.
        total: all there are.
        unit: what is counted.
        done: of them before the start; they count for the time left but not for the rate.
    """
    started, in_part = time.perf_counter(), unit == "runs"
    rate_format = ".2g" if in_part else ",.0f"
    if sys.stderr.isatty() and log.isEnabledFor(logging.WARNING):
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn(f"{{task.fields[rate]}} {unit}/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        with bar:
            line = bar.add_task(title, total=total, completed=done, rate="-", note="")
            completed: float = done

            def advance_bar(rows: float, note: str = "") -> None:
                nonlocal completed
                completed += rows
                rate = (completed - done) / max(time.perf_counter() - started, 1e-9)
                bar.update(line, completed=completed, rate=f"{rate:{rate_format}}", note=note)

            yield advance_bar
        return
    completed, last = done, started

    def advance_line(rows: float, note: str = "") -> None:
        nonlocal completed, last
        completed += rows
        now = time.perf_counter()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            rate = (completed - done) / (now - started)
            left = max(total - completed, 0) / rate
            log.info(
                "%s: %.*f of %d %s, %s %s/s, %.0f s left; %s",
                title, 2 * in_part, completed, total, unit, f"{rate:{rate_format}}", unit, left,
                note,
            )  # fmt: skip

    yield advance_line
