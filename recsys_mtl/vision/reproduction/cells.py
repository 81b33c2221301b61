"""The texts in the cells of a reproduction's tables."""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.differences import Difference
from recsys_mtl.reports.cells import number, with_interval
from recsys_mtl.vision.reproduction.numbers import Spread
from recsys_mtl.vision.reproduction.published import Value


def plus_minus(spread: Spread, digits: int) -> str:
    """Mean ± standard deviation; empty where undefined."""
    return as_published([spread.mean, spread.sd], digits)


def as_published(value: Value | None, digits: int) -> str:
    """The same of a published number."""
    known = [one for one in value or () if np.isfinite(one)]
    precision = (digits, min(digits, 3))
    return " ± ".join(f"{one:.{d}f}" for one, d in zip(known, precision, strict=False))


def interval(gain: Difference) -> str:
    """Mean and interval."""
    return with_interval(gain.mean, gain.low, gain.high, 4)


def difference_cells(gain: Difference | None) -> list[str]:
    """Three cells; empty ones for the method itself."""
    if gain is None:
        return ["", "", ""]
    return [interval(gain), number(gain.adjusted, ".2g"), f"{gain.wins}:{gain.losses}"]
