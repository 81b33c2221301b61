"""How much of each training is done: reported where it runs, shown in the study's one bar.

The shares are in memory that worker processes share, so that no message can be lost or block.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from typing import Any

from recsys_mtl.progress import Advance
from recsys_mtl.study.unit import Unit

_SECONDS_BETWEEN_READINGS = 1.0
_current: Shares | None = None  # of this process


@dataclass
class Shares:
    """The shares of some units, from 0 to 1.

    Attributes:
        labels: of the units.
        values: a share each.
    """

    labels: list[str]
    values: Any = field(init=False)

    def __post_init__(self) -> None:
        self.values = RawArray("d", len(self.labels))


def use_shares(shares: Shares) -> None:
    """Trainings of this process report to `shares`."""
    global _current
    _current = shares


def report_share(unit: Unit, share: float) -> None:
    """How much of a unit's training is done; without an effect outside of a study."""
    if _current is not None and unit.label in _current.labels:
        _current.values[_current.labels.index(unit.label)] = share


@contextmanager
def shown_shares(units: Sequence[Unit], advance: Advance) -> Iterator[Shares]:
    """Shares that advance a progress bar until the block ends."""
    shares = Shares([unit.label for unit in units])
    use_shares(shares)
    stop = threading.Event()

    def show() -> None:
        shown = [0.0] * len(units)
        while not stop.wait(_SECONDS_BETWEEN_READINGS):
            now = list(shares.values)
            gains = [new - old for new, old in zip(now, shown, strict=True)]
            if sum(gains) > 0:
                advance(sum(gains), shares.labels[gains.index(max(gains))])
                shown = now

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield shares
    finally:
        stop.set()
        thread.join()
