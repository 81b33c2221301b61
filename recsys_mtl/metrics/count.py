"""Metrics of a number of events.

All functions take labels (B,), not negative, expected counts (B,) and positive weights (B,), B ≥ 1.
A label may be the true rate instead of the observed count.
"""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.undefined import Metric, defined
from recsys_mtl.metrics.weighing import Array, Floats, Weighing, mean

_CLIP = 1e-7
_LEAST_DEVIANCE = 1e-12  # of the labels' mean, relative to it


def mean_poisson_deviance(labels: Array, predictions: Array, weights: Array) -> float:
    """2 · mean(y log(y / μ) - y + μ), predictions μ of at least 1e-7; 0 is perfect."""
    return 2 * mean(_deviances(labels, predictions), weights)


def poisson_d2(labels: Array, predictions: Array, weights: Array) -> Metric:
    """1 - deviance / deviance of these rows' mean label: the R² of counts.

    0 is no better than the mean, below is worse (Cameron and Windmeijer 1996).
    """
    return defined(prepare_poisson_d2(labels, predictions)(weights), "all labels are equal")


def prepare_poisson_d2(labels: Array, predictions: Array) -> Weighing:
    """`poisson_d2` as a function of the weights."""
    counts = np.asarray(labels, np.float64)
    deviances, information = _deviances(counts, predictions), _times_log(counts, counts)

    def weigh(weights: Array) -> float:
        if not weights.sum() > 0:
            return float("nan")
        rate = mean(counts, weights)
        # Σ (rate - y) is 0: only y log y and rate log rate remain of the deviances.
        constant = mean(information, weights) - float(_times_log(np.asarray(rate), rate))
        if not constant > _LEAST_DEVIANCE * rate:
            return float("nan")
        return 1 - mean(deviances, weights) / constant

    return weigh


def _deviances(labels: Array, predictions: Array) -> Floats:
    """(B,) halves."""
    counts = np.asarray(labels, np.float64)
    expected = np.maximum(np.asarray(predictions, np.float64), _CLIP)
    return _times_log(counts, counts / expected) - counts + expected


def _times_log(counts: Array, of: Array | float) -> Floats:
    """Counts · log(of), 0 where the count is 0."""
    return np.asarray(counts * np.log(np.where(counts > 0, of, 1.0)))
