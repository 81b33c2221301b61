"""Metrics of a yes/no label.

All functions take labels (B,) in {0, 1}, probabilities (B,) and positive weights (B,), B ≥ 1.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from recsys_mtl.metrics.undefined import Array, Metric, Metrics, Undefined, mean

_CLIP = 1e-7  # float32 probabilities come this close to 0 and 1 and no closer
_ONE_CLASS = Undefined("all labels are of one class")


def binary_metrics(labels: Array, probabilities: Array, weights: Array, *, bins: int) -> Metrics:
    """All metrics of this file, by name; `bins` is that of `calibration_error`."""
    return {
        "auc": auc(labels, probabilities, weights),
        "pr_auc": pr_auc(labels, probabilities, weights),
        "log_loss": log_loss(labels, probabilities, weights),
        "normalized_entropy": normalized_entropy(labels, probabilities, weights),
        "calibration_error": calibration_error(labels, probabilities, weights, bins=bins),
        "calibration_ratio": calibration_ratio(labels, probabilities, weights),
    }


def auc(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Area under the ROC curve; ties count one half."""
    if _one_class(labels):
        return _ONE_CLASS
    return float(roc_auc_score(labels, probabilities, sample_weight=weights))


def pr_auc(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Average precision: the area under the precision-recall steps, without interpolation."""
    if _one_class(labels):
        return _ONE_CLASS
    return float(average_precision_score(labels, probabilities, sample_weight=weights))


def log_loss(labels: Array, probabilities: Array, weights: Array) -> float:
    """Mean negative log-likelihood in nats; probabilities are clipped to 1e-7 from 0 and 1."""
    p = np.clip(np.asarray(probabilities, np.float64), _CLIP, 1 - _CLIP)
    return mean(-np.log(np.where(labels == 1, p, 1 - p)), weights)


def normalized_entropy(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Log loss over the entropy of these rows' base rate (He et al. 2014); 1 is no better."""
    if _one_class(labels):
        return _ONE_CLASS
    rate = mean(labels, weights)
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    return float(log_loss(labels, probabilities, weights) / entropy)


def calibration_error(labels: Array, probabilities: Array, weights: Array, *, bins: int) -> float:
    """Expected calibration error, Σ share · |mean label - mean probability|, of `reliability`."""
    predicted, observed, mass = reliability(labels, probabilities, weights, bins=bins)
    return float((mass * np.abs(predicted - observed)).sum() / mass.sum())


def reliability(
    labels: Array, probabilities: Array, weights: Array, *, bins: int
) -> tuple[Array, Array, Array]:
    """The points of a reliability diagram: mean probability, mean label and weight of each bin.

    The bins hold equal weight: their edges are weighted quantiles of the probabilities. Equal
    probabilities share a bin, so there are fewer bins where many rows have one probability.

    Args:
        labels: (B,), each 0 or 1.
        probabilities: (B,).
        weights: (B,), positive.
        bins: most bins there may be.
    """
    order = np.argsort(np.asarray(probabilities, np.float64))
    p = np.asarray(probabilities, np.float64)[order]
    w = np.asarray(weights, np.float64)[order]
    mass = np.cumsum(w)
    # Bin b is (edge b-1, edge b]; the rounding error of the sum must not move an edge by a row.
    targets = mass[-1] * np.arange(1, bins) / bins * (1 - 1e-12)
    edges = np.unique(p[np.searchsorted(mass, targets)])
    starts = np.unique(np.r_[0, np.searchsorted(p, edges, side="right")])
    starts = starts[starts < len(p)]
    of_bin = np.add.reduceat(w, starts)
    predicted = np.add.reduceat(w * p, starts) / of_bin
    observed = np.add.reduceat(w * np.asarray(labels, np.float64)[order], starts) / of_bin
    return predicted, observed, of_bin


def calibration_ratio(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Mean probability over mean label; 1 is calibrated in the large."""
    observed = mean(labels, weights)
    if observed == 0:
        return Undefined("no positive label")
    return mean(probabilities, weights) / observed


def _one_class(labels: Array) -> bool:
    return bool(labels.min() == labels.max())
