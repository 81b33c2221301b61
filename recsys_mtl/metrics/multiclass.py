"""Metrics of a label that is one of K classes.

All functions take labels (B,) of class indices, probabilities (B, K) and positive weights (B,),
B ≥ 1. Where labels may be (B, K), they are the classes' true probabilities: the metric is then the
expectation over labels that are drawn with them.
"""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.undefined import Metric, Undefined, defined
from recsys_mtl.metrics.weighing import Array, Weighing, entropy, mean

_PART = 4_096  # rows at a time where each has a value a class
_CLIP = 1e-7  # a float32 softmax may be 0
_LEAST_ENTROPY = 1e-12  # the rounding error of shares that are all of one class
_ONE_CLASS = "all labels are of one class"


def accuracy(labels: Array, probabilities: Array, weights: Array) -> float:
    """Share of rows whose most probable class (the first, if tied) is the label."""
    return mean(probabilities.argmax(1) == labels, weights)


def macro_f1(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Mean F1 over the classes that occur as label or as prediction, each counting the same."""
    if labels.min() == labels.max():
        return Undefined(_ONE_CLASS)
    k = probabilities.shape[1]
    actual, predicted = labels.astype(np.int64), probabilities.argmax(1)
    hit = actual == predicted
    true_positives = np.bincount(actual[hit], weights[hit], minlength=k)
    both = np.bincount(actual, weights, k) + np.bincount(predicted, weights, k)
    occurs = both > 0
    return float(np.mean(2 * true_positives[occurs] / both[occurs]))


def log_loss(labels: Array, probabilities: Array, weights: Array) -> float:
    """Mean negative log-probability of the label, (B,) or (B, K), in nats, clipped at 1e-7."""
    return mean(_losses(labels, probabilities), weights)


def mcfadden_r2(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """1 - log loss / log loss of these rows' class shares (McFadden 1974); labels (B,) or (B, K).

    0 is no better than the shares; below is worse.
    """
    return defined(prepare_mcfadden_r2(labels, probabilities)(weights), _ONE_CLASS)


def prepare_mcfadden_r2(labels: Array, probabilities: Array) -> Weighing:
    """`mcfadden_r2` as a function of the weights."""
    losses, count = _losses(labels, probabilities), probabilities.shape[1]
    classes = None if labels.ndim == 2 else labels.astype(np.int64)

    def weigh(weights: Array) -> float:
        total = weights.sum()
        if not total > 0:
            return float("nan")
        if classes is None:
            shares = np.average(labels, axis=0, weights=weights)
        else:
            shares = np.bincount(classes, weights, count) / total
        constant = entropy(shares)
        return 1 - mean(losses, weights) / constant if constant > _LEAST_ENTROPY else float("nan")

    return weigh


def ndcg_at_3(labels: Array, probabilities: Array, weights: Array) -> float:
    """Mean of 1 / log2(1 + rank) where the label is among the three most probable classes, else 0.

    A class as probable as the label ranks before it.
    """
    of_label = _of_label(labels, probabilities)[:, None]
    parts = (slice(start, start + _PART) for start in range(0, len(labels), _PART))
    rank = np.concatenate([(probabilities[part] >= of_label[part]).sum(1) for part in parts])
    return mean(np.where(rank <= 3, 1 / np.log2(1.0 + rank), 0.0), weights)


def _losses(labels: Array, probabilities: Array) -> Array:
    """(B,) negative log-likelihoods, clipped."""
    if labels.ndim == 2:
        losses: Array = -(labels * np.log(np.maximum(probabilities, _CLIP))).sum(axis=1)
        return losses
    return -np.log(np.maximum(_of_label(labels, probabilities), _CLIP))


def _of_label(labels: Array, probabilities: Array) -> Array:
    """(B,) the probability given to the label."""
    of_label: Array = probabilities[np.arange(len(labels)), labels.astype(np.int64)]
    return of_label
