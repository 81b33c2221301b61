"""The paired bootstrap over rows: all models and tasks are measured on the same resampled rows.

A resample draws as many rows as there are, with replacement; how often a row was drawn multiplies
its weight. Rows are assumed to be independent.

Shapes: R rows, D resamples, M models.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from recsys_mtl.metrics.weighing import Floats, Ints, Score

log = logging.getLogger(__name__)
LEVEL = 0.95
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % percentile interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def resampled(
    scores: Mapping[Key, Score], weights: Floats, *, resamples: int, seed: int
) -> dict[Key, Floats]:
    """Every score on every resample.

    Args:
        scores: by any key.
        weights: (R,) row weights.
        resamples: how many.
        seed: of the draws.

    Returns:
        Per key (D, M); NaN where the drawn rows have no score.
    """
    rng = np.random.default_rng(seed)
    count = len(weights)
    draws: dict[Key, list[Floats]] = {key: [] for key in scores}
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(count, size=count), minlength=count) * weights
        for key, score in scores.items():
            draws[key].append(score(drawn))
    return {key: np.array(values) for key, values in draws.items()}


def interval(value: float, draws: Floats) -> Interval:
    """Percentiles of the draws (D,) around a value; draws that are NaN are ignored."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def drawn_rows(count: int, limit: int, seed: int) -> Ints:
    """Indices of at most `limit` of `count` rows, in their order."""
    if count <= limit:
        return np.arange(count)
    log.info("%d of %d evaluation rows are drawn for the comparison", limit, count)
    chosen = np.random.default_rng([seed, 1]).choice(count, limit, replace=False)
    return np.sort(chosen)
