"""Metrics of a number, in the label's own unit.

All functions take labels (B,), predictions (B,) and positive weights (B,), B ≥ 1. A label may be
the true mean instead of the observed value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys_mtl.metrics.undefined import Metric, Undefined
from recsys_mtl.metrics.weighing import (
    Array,
    Floats,
    Ints,
    Ranking,
    Score,
    Weighing,
    dense_ranks,
    mean,
)

_EQUAL_LABELS = Undefined("all labels are equal")


def rmse(labels: Array, predictions: Array, weights: Array) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mean((predictions - labels) ** 2, weights)))


def mae(labels: Array, predictions: Array, weights: Array) -> float:
    """Mean absolute error."""
    return mean(np.abs(predictions - labels), weights)


def r2(labels: Array, predictions: Array, weights: Array) -> Metric:
    """1 - mean squared error / variance of these rows' labels."""
    if is_constant(labels):
        return _EQUAL_LABELS
    variance = mean((labels - mean(labels, weights)) ** 2, weights)
    return 1 - mean((predictions - labels) ** 2, weights) / variance


def rank_correlation(labels: Array, predictions: Array, weights: Array) -> Metric:
    """Spearman's: Pearson's correlation of ranks; ties share their mean rank."""
    if is_constant(labels):
        return _EQUAL_LABELS
    if is_constant(predictions):
        return Undefined("all predictions are equal")
    return float(prepare_rank_correlation(labels, [predictions])(weights)[0])


def prepare_rank_correlation(labels: Array, predictions: Sequence[Array]) -> Score:
    """`rank_correlation` of several models as a function of the weights.

    Returns:
        NaN where all labels are equal, 0 for a model that predicts one value for all rows.
    """
    return correlate_ranks(dense_ranks(labels), [dense_ranks(p) for p in predictions])


def correlate_ranks(labels: Ints, predictions: Sequence[Ints]) -> Score:
    """`prepare_rank_correlation` of dense ranks (B,)."""
    label = Ranking(labels)
    models = [Ranking(ranks[label.order]) for ranks in predictions]

    def weigh(weights: Array) -> Floats:
        own = np.asarray(weights, np.float64).take(label.order)
        truth = label.centred(own)
        spread = float(own @ (truth * truth))
        if not spread > 0:
            return np.full(len(models), np.nan)
        correlations = []
        for model in models:
            weighted = own.take(model.order)
            ranks = model.centred(weighted)
            weighted *= ranks
            scale = np.sqrt(spread * float(weighted @ ranks))
            product = float(weighted @ truth.take(model.order))
            correlations.append(np.clip(product / scale, -1.0, 1.0) if scale > 0 else 0.0)
        return np.array(correlations)

    return weigh


def prepare_error_of_mean(labels: Array, predictions: Array) -> Weighing:
    """|Σ (prediction - label)| / Σ |label|, 0 being calibrated in the large; NaN if all are 0."""
    errors, sizes = predictions - labels, np.abs(labels)

    def weigh(weights: Array) -> float:
        size = float(weights @ sizes)
        return abs(float(weights @ errors)) / size if size > 0 else float("nan")

    return weigh


def is_constant(values: Array) -> bool:
    """Whether all are equal; true for no values."""
    return not len(values) or bool(values.min() == values.max())
