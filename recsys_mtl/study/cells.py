"""What stands in the cells of a study's tables; what is undefined stays empty."""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.differences import Difference


def number(value: float, how: str) -> str:
    """A number by a format specification."""
    return "" if np.isnan(value) else format(value, how)


def interval(low: float, high: float, digits: int) -> str:
    """Both edges, with signs."""
    return "" if np.isnan(low) else f"[{low:+.{digits}f}, {high:+.{digits}f}]"


def with_interval(difference: Difference, digits: int) -> str:
    """A mean and its interval."""
    edges = interval(difference.low, difference.high, digits)
    return f"{number(difference.mean, f'+.{digits}f')} {edges}".strip()


def won_lost(difference: Difference) -> str:
    """Pairs that were won and lost."""
    return f"{difference.wins}:{difference.losses}"
