"""Metrics of a yes/no label.

All functions take labels (B,), probabilities (B,) and positive weights (B,), B ≥ 1. A label may be
a probability instead of 0 or 1: the metric is then against the truth, the expectation over labels
that are drawn with it (of a quotient, numerator and denominator each).

Shapes: V distinct probabilities, in rising order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recsys_mtl.metrics.undefined import Metric, Undefined, defined
from recsys_mtl.metrics.weighing import (
    Array,
    Floats,
    Weighing,
    dense_ranks,
    mean,
    rising,
    running_sum,
    sums,
)

_CLIP = 1e-7  # float32 probabilities come no closer to 0 and 1
_ONE_CLASS = "all labels are of one class"


def auc(labels: Array, scores: Array, weights: Array) -> Metric:
    """Area under the ROC curve of any scores (B,); ties count one half."""
    return defined(prepare_auc(labels, scores)(weights), _ONE_CLASS)


def prepare_auc(labels: Array, scores: Array) -> Weighing:
    """`auc` as a function of the weights.

    Σ_{i≠j} w_i p_i w_j (1 - p_j) [s_i > s_j] / Σ_{i≠j} w_i p_i w_j (1 - p_j) with labels p, ties
    half: a row does not pair with itself.
    """
    chance, ranks = np.asarray(labels, np.float64), dense_ranks(scores)
    order = rising(ranks)
    positive, negative = order[chance[order] > 0], order[chance[order] < 1]
    below = np.searchsorted(ranks[negative], ranks[positive], side="left")
    up_to = np.searchsorted(ranks[negative], ranks[positive], side="right")
    soft = len(positive) + len(negative) > len(chance)

    def weigh(weights: Array) -> float:
        own, itself = np.asarray(weights, np.float64), 0.0
        right, wrong = own.take(positive), own.take(negative)
        if soft:
            right, wrong = right * chance[positive], wrong * (1 - chance[negative])
            itself = float((own * chance) @ (own * (1 - chance)))
        mass = running_sum(wrong)
        return _share_won(right, mass.take(below), mass.take(up_to), mass[-1], itself)

    return weigh


def auc_of_masses(positive: Floats, negative: Floats) -> float:
    """`auc` of the weight of positive and of negative labels (V,); NaN without either."""
    mass = running_sum(negative)
    return _share_won(positive, mass[:-1], mass[1:], mass[-1], 0.0)


def _share_won(
    positive: Floats, below: Floats, up_to: Floats, negative: float, itself: float
) -> float:
    """Share of (positive, negative) pairs in the right order, ties half; NaN without a pair.

    Args:
        positive: (V,) weights of positive labels.
        below: (V,) weight of the negative labels that score less.
        up_to: (V,) weight of those that score less or the same.
        negative: weight of all negative labels.
        itself: weight of the pairs of a row with itself, which do not count.
    """
    pairs = float(positive.sum() * negative) - itself
    if not pairs > 0:
        return float("nan")
    return (float(positive @ below) + float(positive @ up_to) - itself) / 2 / pairs


def pr_auc(labels: Array, scores: Array, weights: Array) -> Metric:
    """Average precision: the area under the precision-recall steps, without interpolation."""
    chance, ranks = np.asarray(labels, np.float64), dense_ranks(scores)
    right, wrong = weights * chance, weights * (1 - chance)
    masses = (sums(ranks, values) for values in (right, wrong, right * wrong))
    return defined(pr_auc_of_masses(*masses), _ONE_CLASS)


def pr_auc_of_masses(positive: Floats, negative: Floats, itself: Floats | float = 0.0) -> float:
    """`pr_auc` of the weight of positive and of negative labels (V,); NaN without either.

    Args:
        positive: (V,) weight of positive labels at each score.
        negative: (V,) weight of negative labels.
        itself: (V,) weight of pairs of a row with itself, which count as hits.
    """
    hits, misses = (np.cumsum(mass[::-1])[::-1] for mass in (positive, negative))
    if not (hits[0] > 0 and misses[0] > 0):
        return float("nan")
    predicted = hits + misses
    predicted = np.where(predicted > 0, predicted, 1.0)
    recall = np.append(hits / hits[0], 0.0)
    area = float((-np.diff(recall) * (hits / predicted)).sum())
    return area + float((itself / predicted).sum() / hits[0])


def log_loss(labels: Array, probabilities: Array, weights: Array) -> float:
    """Mean negative log-likelihood in nats; probabilities are clipped to 1e-7 from 0 and 1."""
    chance = np.asarray(labels, np.float64)
    p = np.clip(np.asarray(probabilities, np.float64), _CLIP, 1 - _CLIP)
    return mean(-(chance * np.log(p) + (1 - chance) * np.log(1 - p)), weights)


def normalized_entropy(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Log loss over the entropy of these rows' base rate (He et al. 2014); 1 is no better."""
    rate = mean(labels, weights)
    if not 0 < rate < 1:
        return Undefined(_ONE_CLASS)
    uncertainty = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    return float(log_loss(labels, probabilities, weights) / uncertainty)


def calibration_error(labels: Array, probabilities: Array, weights: Array, *, bins: int) -> float:
    """Expected calibration error, Σ share · |mean label - mean probability|, of `reliability`."""
    return prepare_calibration_error(labels, probabilities, weights, bins=bins)(weights)


def prepare_calibration_error(
    labels: Array, probabilities: Array, weights: Array, *, bins: int
) -> Weighing:
    """`calibration_error` as a function of the weights, in the bins of these weights."""
    in_bins = prepare_reliability(labels, probabilities, weights, bins=bins)

    def weigh(weights: Array) -> float:
        predicted, observed, mass = in_bins(weights)
        total = mass.sum()
        gaps = float((mass * np.abs(predicted - observed)).sum())
        return gaps / float(total) if total > 0 else float("nan")

    return weigh


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
        bins: most bins.
    """
    return prepare_reliability(labels, probabilities, weights, bins=bins)(weights)


def prepare_reliability(
    labels: Array, probabilities: Array, weights: Array, *, bins: int
) -> Callable[[Array], tuple[Array, Array, Array]]:
    """`reliability` as a function of other weights (B,), at least 0, in the same bins."""
    order = np.argsort(np.asarray(probabilities, np.float64))
    p = np.asarray(probabilities, np.float64)[order]
    chance = np.asarray(labels, np.float64)[order]
    mass = np.cumsum(np.asarray(weights, np.float64)[order])
    # Bin b is (edge b-1, edge b]; the rounding error of the sum must not move an edge by a row.
    targets = mass[-1] * np.arange(1, bins) / bins * (1 - 1e-12)
    edges = np.unique(p[np.searchsorted(mass, targets)])
    starts = np.unique(np.r_[0, np.searchsorted(p, edges, side="right")])
    starts = starts[starts < len(p)]

    def weigh(weights: Array) -> tuple[Array, Array, Array]:
        w = np.asarray(weights, np.float64)[order]
        of_bin = np.add.reduceat(w, starts)
        divisor = np.where(of_bin > 0, of_bin, 1.0)  # a resample may leave a bin empty
        predicted = np.add.reduceat(w * p, starts) / divisor
        return predicted, np.add.reduceat(w * chance, starts) / divisor, of_bin

    return weigh


def calibration_ratio(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Mean probability over mean label; 1 is calibrated in the large."""
    observed = mean(labels, weights)
    if observed == 0:
        return Undefined("no positive label")
    return mean(probabilities, weights) / observed
