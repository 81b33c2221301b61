"""Metrics of a label that is one of K classes.

All functions take labels (B,) of class indices, probabilities (B, K) and positive weights (B,),
B ≥ 1.
"""

from __future__ import annotations

import numpy as np

from recsys_mtl.metrics.undefined import Array, Metric, Metrics, Undefined, mean

_CLIP = 1e-7


def multiclass_metrics(labels: Array, probabilities: Array, weights: Array) -> Metrics:
    """All metrics of this file, by name."""
    return {
        "accuracy": accuracy(labels, probabilities, weights),
        "macro_f1": macro_f1(labels, probabilities, weights),
        "log_loss": log_loss(labels, probabilities, weights),
        "ndcg_at_3": ndcg_at_3(labels, probabilities, weights),
    }


def accuracy(labels: Array, probabilities: Array, weights: Array) -> float:
    """Share of rows whose most probable class (the first, if tied) is the label."""
    return mean(probabilities.argmax(1) == labels, weights)


def macro_f1(labels: Array, probabilities: Array, weights: Array) -> Metric:
    """Mean F1 over the classes that occur as label or as prediction, each counting the same."""
    if labels.min() == labels.max():
        return Undefined("all labels are of one class")
    k = probabilities.shape[1]
    actual, predicted = labels.astype(np.int64), probabilities.argmax(1)
    hit = actual == predicted
    true_positives = np.bincount(actual[hit], weights[hit], minlength=k)
    both = np.bincount(actual, weights, k) + np.bincount(predicted, weights, k)
    occurs = both > 0
    return float(np.mean(2 * true_positives[occurs] / both[occurs]))


def log_loss(labels: Array, probabilities: Array, weights: Array) -> float:
    """Mean negative log-probability of the label in nats, clipped at 1e-7."""
    return mean(-np.log(np.maximum(_of_label(labels, probabilities), _CLIP)), weights)


def ndcg_at_3(labels: Array, probabilities: Array, weights: Array) -> float:
    """Mean of 1 / log2(1 + rank) where the label is among the three most probable classes, else 0.

    A class as probable as the label ranks before it.
    """
    rank = (probabilities >= _of_label(labels, probabilities)[:, None]).sum(1)
    return mean(np.where(rank <= 3, 1 / np.log2(1.0 + rank), 0.0), weights)


def _of_label(labels: Array, probabilities: Array) -> Array:
    """(B,) the probability given to the label."""
    of_label: Array = probabilities[np.arange(len(labels)), labels.astype(np.int64)]
    return of_label
