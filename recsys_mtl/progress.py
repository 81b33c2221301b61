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

    def __call__(self, rows: int, note: str = "") -> None:
        """Tell that `rows` more are done."""


@contextmanager
def progress(title: str, total: int, unit: str = "rows") -> Iterator[Advance]:
    """Show how many of `total` rows (or other units) are done."""
    started, digits = time.perf_counter(), 0 if unit == "rows" else 2
    if sys.stderr.isatty():
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn(f"{{task.fields[rate]}} {unit}/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        with bar:
            line = bar.add_task(title, total=total, rate="-", note="")
            done = 0

            def advance_bar(rows: int, note: str = "") -> None:
                nonlocal done
                done += rows
                rate = done / max(time.perf_counter() - started, 1e-9)
                bar.update(line, completed=done, rate=f"{rate:,.{digits}f}", note=note)

            yield advance_bar
        return
    done, last = 0, started

    def advance_line(rows: int, note: str = "") -> None:
        nonlocal done, last
        done += rows
        now = time.perf_counter()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            rate = done / (now - started)
            left = max(total - done, 0) / rate
            log.info(
                "%s: %d of %d %s, %.*f %s/s, %.0f s left; %s",
                title, done, total, unit, digits, rate, unit, left, note,
            )  # fmt: skip

    yield advance_line
