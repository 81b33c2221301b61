"""One direction of a chart: its ends, and where it has marks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

LONGEST = 26
"""Characters of a name at an axis; longer ones are cut."""


@dataclass(frozen=True)
class Axis:
    """One direction of a chart.

    Attributes:
        low: its lower end.
        high: its upper end, above it.
        label: what it shows, with the unit.
        percent: whether numbers are shares.
        names: of the positions 0, 1, …, from the top or the left; numbers are not shown then.
        whole: whether only whole numbers are marked.
    """

    low: float
    high: float
    label: str = ""
    percent: bool = False
    names: Sequence[str] = ()
    whole: bool = False

    @classmethod
    def over(cls, values: Iterable[float], label: str = "", *, percent: bool = False) -> Axis:
        """An axis with room for all finite values; of one value with room around it."""
        known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(low - room, high + room, label, percent)

    @classmethod
    def of(cls, names: Sequence[str], label: str = "") -> Axis:
        """Positions with names."""
        return cls(-0.5, len(names) - 0.5, label, names=tuple(names))

    @cached_property
    def longest(self) -> int:
        """Characters of the longest name or number at it, as far as they are shown."""
        return min(max((len(text) for _, text in self.ticks()), default=0), LONGEST)

    def ticks(self) -> list[tuple[float, str]]:
        """Where there are marks, and what they say."""
        if self.names:
            return list(enumerate(self.names))
        step = max(_step(self.high - self.low), float(self.whole))
        first = math.ceil(self.low / step - 1e-9)
        values = [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        if self.percent:
            return [(value, f"{value:.{max(0, digits - 2)}%}") for value in values]
        return [(value, f"{value:,.{digits}f}") for value in values]


def _step(width: float) -> float:
    """A round distance between four to eight marks."""
    rough = width / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(m for m in (1, 2, 5, 10) if m * power >= 0.8 * rough)
