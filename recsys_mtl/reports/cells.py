"""What stands in the cells of tables; what is undefined stays empty."""

from __future__ import annotations

import math


def number(value: float | None, how: str = ".4f", *, missing: str = "") -> str:
    """A number by a format specification, or `missing` for None and NaN."""
    return missing if value is None or math.isnan(value) else format(value, how)


def interval(low: float, high: float, digits: int) -> str:
    """Both edges, with signs."""
    return "" if math.isnan(low) else f"[{low:+.{digits}f}, {high:+.{digits}f}]"


def with_interval(mean: float, low: float, high: float, digits: int) -> str:
    """A difference and its interval."""
    return f"{number(mean, f'+.{digits}f')} {interval(low, high, digits)}".strip()
