"""Metrics of a number, in the label's own unit.

All functions take labels (B,), predictions (B,) and positive weights (B,), B ≥ 1.
"""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.undefined import Array, Metric, Metrics, Undefined, mean


def regression_metrics(labels: Array, predictions: Array, weights: Array) -> Metrics:
    """All metrics of this file, by name."""
    y, p = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    return {
        "rmse": rmse(y, p, weights),
        "mae": mae(y, p, weights),
        "r2": r2(y, p, weights),
        "rank_correlation": rank_correlation(y, p, weights),
    }


def rmse(labels: Array, predictions: Array, weights: Array) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mean((predictions - labels) ** 2, weights)))


def mae(labels: Array, predictions: Array, weights: Array) -> float:
    """Mean absolute error."""
    return mean(np.abs(predictions - labels), weights)


def r2(labels: Array, predictions: Array, weights: Array) -> Metric:
    """1 - mean squared error / variance of these rows' labels."""
    if _constant(labels):
        return Undefined("all labels are equal")
    variance = mean((labels - mean(labels, weights)) ** 2, weights)
    return 1 - mean((predictions - labels) ** 2, weights) / variance


def rank_correlation(labels: Array, predictions: Array, weights: Array) -> Metric:
    """Spearman's: Pearson's correlation of ranks; ties share their mean rank.

    A row of weight 2 is as two rows, in the ranks too.
    """
    if _constant(labels):
        return Undefined("all labels are equal")
    if _constant(predictions):
        return Undefined("all predictions are equal")
    a, b = (_centred_ranks(values, weights) for values in (labels, predictions))
    scale = np.sqrt(mean(a * a, weights)) * np.sqrt(mean(b * b, weights))
    return float(np.clip(mean(a * b, weights) / scale, -1.0, 1.0))


def _centred_ranks(values: Array, weights: Array) -> Array:
    """Weighted mid-ranks less their mean: weight of the smaller values + half that of equal ones.

    Divided by the total weight, so that squares of millions of rows stay small.
    """
    _, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weights)
    ranks: Array = ((np.cumsum(mass) - mass / 2) / mass.sum())[place]
    return ranks - mean(ranks, weights)


def _constant(values: Array) -> bool:
    return bool(values.min() == values.max())
