"""The paired bootstrap over rows: all models and tasks are measured on the same resampled rows.

A resample draws as many rows as there are, with replacement; how often a row was drawn multiplies
its weight. Rows are assumed to be independent; where they are not, clusters of them are drawn.

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
    scores: Mapping[Key, Score],
    weights: Floats,
    *,
    resamples: int,
    seed: int,
    clusters: Ints | None = None,
) -> dict[Key, Floats]:
    """Every score on every resample.

    Args:
        scores: by any key.
        weights: (R,) row weights.
        resamples: how many.
        seed: of the draws.
        clusters: (R,) from 0: all rows of one are drawn together; None: rows are drawn.

    Returns:
        Per key (D, M); NaN where the drawn rows have no score.
    """
    rng = np.random.default_rng(seed)
    count = len(weights) if clusters is None else int(clusters.max()) + 1
    draws: dict[Key, list[Floats]] = {key: [] for key in scores}
    for _ in range(resamples):
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        drawn = (times if clusters is None else times[clusters]) * weights
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


def clusters_of(groups: Ints, without: int) -> Ints:
    """(R,) the cluster of each row, from 0; a row whose group is `without` is one of its own."""
    alone = groups == without
    _, clusters = np.unique(groups, return_inverse=True)
    clusters = np.where(alone, len(clusters) + np.arange(len(groups)), clusters)
    return np.unique(clusters, return_inverse=True)[1]


def drawn_clusters(clusters: Ints, limit: int, seed: int) -> Ints:
    """Indices of the rows of clusters drawn until they have `limit` rows, in their order."""
    if len(clusters) <= limit:
        return np.arange(len(clusters))
    sizes = np.bincount(clusters)
    order = np.random.default_rng([seed, 1]).permutation(len(sizes))
    chosen = np.zeros(len(sizes), bool)
    chosen[order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), limit, "right")))]] = True
    rows = np.flatnonzero(chosen[clusters])
    log.info("%d of %d evaluation rows are drawn for the comparison", len(rows), len(clusters))
    return rows
