"""What stands in the cells of a reproduction's tables."""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.differences import Difference
from recsys_mtl.vision.reproduction.numbers import Spread
from recsys_mtl.vision.reproduction.published import Value


def plus_minus(found: Spread, digits: int) -> str:
    """Mean ± standard deviation; nothing where there is none."""
    return as_published([found.mean, found.sd], digits)


def as_published(value: Value | None, digits: int) -> str:
    """The same of a published number."""
    known = [one for one in value or () if np.isfinite(one)]
    places = (digits, min(digits, 3))
    return " ± ".join(f"{one:.{d}f}" for one, d in zip(known, places, strict=False))


def interval(found: Difference) -> str:
    """Mean and interval."""
    if np.isnan(found.mean):
        return ""
    reach = "" if np.isnan(found.low) else f" [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.mean:+.4f}{reach}"


def difference_cells(found: Difference | None) -> list[str]:
    """Three cells; empty ones for the method itself."""
    if found is None:
        return ["", "", ""]
    p = "" if np.isnan(found.adjusted) else f"{found.adjusted:.2g}"
    return [interval(found), p, f"{found.wins}:{found.losses}"]
